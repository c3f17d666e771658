"""Builds the two C++ dependencies once and keeps their wheels in a per-user cache.

The cache lies outside the checkout, under ``$XDG_CACHE_HOME/minkocc/wheels`` (``~/.cache`` by
default), one folder per package, version, patch, torch, Python and CUDA version.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from installer.console import InstallError, run_logged, say
from installer.minkowski_patch import PATCH_VERSION, apply_patches

MMCV_VERSION = "2.1.0"
MINKOWSKI_VERSION = "0.5.4"
_BUILD_DISK_GB = 3.0
_CFLAGS = "-DNDEBUG -fwrapv -O2 -g0"  # debug information is half the build time
_BLAS_SYMBOLS = ("cblas_sgemm", "cblas_dgemm", "cblas_saxpy", "cblas_daxpy")


@dataclass(frozen=True)
class BuildEnvironment:
    """The interpreter that wheels are built for and what of it their binaries depend on.

    ``cuda`` is the version that torch was built with, ``"cpu"`` without one or without nvcc.
    """

    python: Path
    python_tag: str
    torch: str
    cuda: str

    @classmethod
    def of(cls, python: Path) -> BuildEnvironment:
        """Ask ``python`` for its version and its torch's."""
        probe = (
            "import json, sys, torch; print(json.dumps(['%d.%d' % sys.version_info[:2],"
            " torch.__version__, torch.version.cuda or 'cpu']))"
        )
        tag, torch, cuda = json.loads(_answer(python, probe))
        if cuda != "cpu" and not _has_nvcc():
            say(f"torch is built for CUDA {cuda} but no nvcc is found: MinkowskiEngine for CPU")
            cuda = "cpu"
        return cls(python, tag, torch, cuda)


def _answer(python: Path, probe: str) -> str:
    """What a line of Python prints.

    Raises:
        InstallError: it failed; the text holds its own last words.
    """
    done = subprocess.run([python, "-c", probe], capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InstallError(
            f"{python} cannot say what it holds ({words[-1]}): delete .venv and run make again"
        )
    return done.stdout


def _has_nvcc() -> bool:
    home = os.environ.get("CUDA_HOME")
    return bool(home and (Path(home) / "bin" / "nvcc").exists()) or shutil.which("nvcc") is not None


def cache_root() -> Path:
    """The wheel cache's folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minkocc" / "wheels"


def mmcv_wheel(env: BuildEnvironment) -> Path:
    """The cached mmcv wheel, built with its C++ operators when it is not there yet."""
    folder = _cache_folder("mmcv", MMCV_VERSION, "none", env)
    return _cached(folder) or _build_mmcv(folder, env)


def minkowski_wheel(env: BuildEnvironment) -> Path:
    """The cached wheel of the patched MinkowskiEngine, built when it is not there yet."""
    folder = _cache_folder("MinkowskiEngine", MINKOWSKI_VERSION, f"p{PATCH_VERSION}", env)
    return _cached(folder) or _build_minkowski(folder, env)


def _cache_folder(package: str, version: str, patch: str, env: BuildEnvironment) -> Path:
    key = f"{package}-{version}-{patch}-torch{env.torch}-py{env.python_tag}-cuda{env.cuda}"
    return cache_root() / key


def _log_path(folder: Path, what: str) -> Path:
    return folder.parent / f"{folder.name}.{what}.log"


def _cached(folder: Path) -> Path | None:
    found = sorted(folder.glob("*.whl"))
    return found[0] if found else None


def _build_mmcv(folder: Path, env: BuildEnvironment) -> Path:
    _check_can_build("mmcv")
    say("mmdet3d needs mmcv's C++ operators and no wheel exists for this torch: building mmcv")
    with tempfile.TemporaryDirectory(prefix="minkocc-mmcv-") as tmp:
        source = _unpacked_sdist("mmcv", MMCV_VERSION, Path(tmp), folder, env)
        # We use none of its CUDA operators: the CPU build is the same for every card.
        variables = {"MMCV_WITH_OPS": "1", "FORCE_CUDA": "0", "CUDA_VISIBLE_DEVICES": ""}
        return _bdist_wheel(source, [], variables, "building mmcv (about 11 min)", folder, env)


def _build_minkowski(folder: Path, env: BuildEnvironment) -> Path:
    _check_can_build("MinkowskiEngine")
    say("no MinkowskiEngine wheel is published: building the patched 0.5.4 source")
    with tempfile.TemporaryDirectory(prefix="minkocc-me-") as tmp:
        source = _unpacked_sdist("MinkowskiEngine", MINKOWSKI_VERSION, Path(tmp), folder, env)
        apply_patches(source)
        options = ["--blas=openblas", "--cpu_only" if env.cuda == "cpu" else "--force_cuda"]
        variables = _cblas_variables(source, env)
        what = "building MinkowskiEngine (about 5 min)"
        return _bdist_wheel(source, options, variables, what, folder, env)


def _cblas_variables(source: Path, env: BuildEnvironment) -> dict[str, str]:
    """Compiler variables that link MinkowskiEngine to the scipy-openblas32 wheel.

    The run path is relative to the extension: the cached wheel outlives this environment.
    """
    probe = "import scipy_openblas32 as b; print(b.get_include_dir()); print(b.get_lib_dir())"
    include, lib = _answer(env.python, probe).split()
    setup = source / "setup.py"
    text = setup.read_text(encoding="utf-8")
    setup.write_text(
        text.replace("libraries.append(BLAS)", "libraries.append('scipy_openblas')"),
        encoding="utf-8",
    )
    defines = " ".join(f"-D{name}=scipy_{name}" for name in _BLAS_SYMBOLS)
    blas = f"-I{include} {defines}"
    return {
        "CFLAGS": " ".join([_CFLAGS, blas, *_thrust(env)]),
        "NVCC_APPEND_FLAGS": blas,  # setuptools hands CFLAGS to the C++ compiler alone
        "LDFLAGS": f"-L{lib} -Wl,-rpath,'$ORIGIN/../scipy_openblas32/lib'",
    }


def _thrust(env: BuildEnvironment) -> list[str]:
    """Where CUDA 13 keeps Thrust: nvcc looks there by itself, the C++ compiler does not."""
    if env.cuda == "cpu":
        return []
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).parent.parent]
    folders = (Path(home) / "include" / "cccl" for home in homes if home)
    return [f"-I{folder}" for folder in folders if folder.is_dir()][:1]


def _unpacked_sdist(
    package: str, version: str, tmp: Path, folder: Path, env: BuildEnvironment
) -> Path:
    """Fetch and unpack an sdist with pip.

    pip also runs the package's old ``setup.py`` for metadata, which fails on current Pythons
    (``numpy.distutils`` is gone). Only the unpacked source is wanted, so pip is told to leave it
    behind and its exit status does not count.
    """
    command: list[str | Path] = [env.python, "-m", "pip", "download", "--no-clean", "--no-deps"]
    command += ["--no-build-isolation", "--no-binary", ":all:", "-d", tmp / "sdist"]
    log = _log_path(folder, "download")
    run_logged(
        [*command, f"{package}=={version}"],
        f"fetching {package} {version}",
        log,
        env={"TMPDIR": str(tmp), "PATH": f"{env.python.parent}:{os.environ['PATH']}"},
        check=False,
    )
    unpacked = [path.parent for path in tmp.glob("*/*/setup.py")]
    if not unpacked:
        _unpack_archives(tmp)
        unpacked = [path.parent for path in tmp.glob("*/*/setup.py")]
    if not unpacked:
        raise InstallError(
            f"could not fetch {package} {version} with pip; is the package index reachable? "
            f"The log is {log}"
        )
    return unpacked[0]


def _unpack_archives(tmp: Path) -> None:
    for archive in (tmp / "sdist").glob("*.tar.gz"):
        shutil.unpack_archive(archive, tmp / "source")


def _bdist_wheel(
    source: Path,
    options: list[str],
    variables: dict[str, str],
    what: str,
    folder: Path,
    env: BuildEnvironment,
) -> Path:
    """Build the wheel of ``source`` and move it into the cache in one step."""
    out = source / "minkocc-wheel"
    command: list[str | Path] = [env.python, "setup.py", "bdist_wheel", "-d", out, *options]
    base = {"CFLAGS": _CFLAGS, "PATH": f"{env.python.parent}:{os.environ['PATH']}"}
    log = _log_path(folder, "build")
    run_logged(command, what, log, cwd=source, env={**base, **variables})
    wheel = _cached(out)
    if wheel is None:
        raise InstallError(f"{what}: no wheel came out; the log is {log}")
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{wheel.name}.part"
    shutil.copy2(wheel, staged)
    return staged.replace(folder / wheel.name)


def _check_can_build(package: str) -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise InstallError(
            f"{package} has to be compiled and the C++ compiler {compiler!r} is not on PATH: "
            "install one (Debian: apt-get install g++) or name it in CXX"
        )
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        raise InstallError(
            f"{package} has to be compiled and Python's headers are missing: install them "
            "(Debian: apt-get install python3-dev)"
        )
    for place in (Path(tempfile.gettempdir()), cache_root()):
        _check_disk(place, _BUILD_DISK_GB, f"building {package}")


def _check_disk(place: Path, need_gb: float, what: str) -> None:
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < need_gb:
        raise InstallError(
            f"{what} needs {need_gb:.0f} GB free under {place}, {free_gb:.1f} GB are: free some "
            "space, or point TMPDIR / XDG_CACHE_HOME at another disk"
        )
