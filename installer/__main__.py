"""Makes ``.venv`` with everything minkocc needs; a second run takes a second.

Usage: ``python3 -m installer [--no-dev]`` from the checkout's root.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from installer.console import InstallError, run_logged, say
from installer.wheels import BuildEnvironment, minkowski_wheel, mmcv_wheel

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".minkocc-installed"
LOGS = VENV / "log"
SUPPORTED = ((3, 10), (3, 11), (3, 12))
_REQUIREMENTS = (
    "requirements.txt",
    "requirements-nodeps.txt",
    "requirements-dev.txt",
    "requirements-pseudo-labels.txt",
)
_INPUTS = (*_REQUIREMENTS, "pyproject.toml", "setup.py")
_VENV_DISK_GB = 8.0  # a torch with CUDA libraries


def main() -> int:
    """Install, or say in one line why it cannot be done."""
    parser = argparse.ArgumentParser(prog="python3 -m installer", description=__doc__)
    parser.add_argument("--no-dev", action="store_true", help="leave the test tools out")
    options = parser.parse_args()
    try:
        install(dev=not options.no_dev)
    except InstallError as error:
        print(f"[install] error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n[install] interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def install(dev: bool = True) -> None:
    """Bring ``.venv`` to the state that the requirement files describe."""
    if tuple(sys.version_info[:2]) not in SUPPORTED:
        raise InstallError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is not supported: use 3.10, 3.11 "
            "or 3.12, e.g. make PYTHON=python3.11 install"
        )
    stamp = _fingerprint(dev)
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == stamp:
        say(f"{VENV.name} is up to date")
        return
    python = _virtual_environment()
    _pip(python, [_pin("setuptools"), "wheel==0.48.0", "ninja==1.13.2"], "build tools")
    _pip(python, [_pin("torch"), _pin("numpy")], "torch")
    _pip(python, ["-r", ROOT / "requirements.txt"], "requirements")
    _pip(python, ["--no-deps", "-r", ROOT / "requirements-nodeps.txt"], "mmdet3d and kin")
    if dev:
        _pip(python, ["-r", ROOT / "requirements-dev.txt"], "test tools")
        _pip(python, ["-r", ROOT / "requirements-pseudo-labels.txt"], "pseudo-label models")
    env = BuildEnvironment.of(python)
    # Forced: pip takes a wheel of the same version, built otherwise, for the same.
    for wheel, name in ((minkowski_wheel(env), "MinkowskiEngine"), (mmcv_wheel(env), "mmcv")):
        _pip(python, ["--force-reinstall", "--no-deps", wheel], name)
    _pip(python, ["--no-deps", "--no-build-isolation", "-e", ROOT], "minkocc")
    _check_imports(python)
    STAMP.write_text(stamp, encoding="utf-8")
    say(f"ready: {VENV.name}/bin/python")


def _fingerprint(dev: bool) -> str:
    digest = hashlib.sha256(f"{sys.version}{dev}{ROOT}".encode())
    for path in [*(ROOT / name for name in _INPUTS), *sorted((ROOT / "installer").glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _virtual_environment() -> Path:
    python = VENV / "bin" / "python"
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if not python.exists() and free_gb < _VENV_DISK_GB:
        raise InstallError(
            f"the environment needs {_VENV_DISK_GB:.0f} GB under {ROOT}, {free_gb:.1f} GB are free"
        )
    if not _is_usable(python):
        command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InstallError(
                f"`python -m venv` failed; on Debian it needs: apt-get install python3-venv\n"
                f"{done.stdout[-1000:]}{done.stderr[-1000:]}"
            )
        say(f"made {VENV.name}")
    return python


def _is_usable(python: Path) -> bool:
    """Whether the environment exists, has pip, and is of the Python that installs."""
    if not python.exists():
        return False
    probe = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", probe], capture_output=True, text=True)
    return done.stdout.strip() == f"{sys.version_info[0]}.{sys.version_info[1]}"


def _pip(python: Path, arguments: list[str | Path], what: str) -> None:
    log = LOGS / f"{re.sub(r'[^a-z0-9]+', '-', what.lower())}.log"
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    run_logged(command, f"installing {what}", log, env={"PIP_ROOT_USER_ACTION": "ignore"})


def _pin(package: str) -> str:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}==\S+", text, re.MULTILINE)
    if found is None:
        raise InstallError(f"requirements.txt has no line '{package}==...'")
    return found[0]


def _check_imports(python: Path) -> None:
    """Fail here, with the import's own words, rather than an hour later."""
    code = "import torch, mmcv.ops, mmdet3d, nuscenes, MinkowskiEngine, minkocc"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode:
        raise InstallError(f"the environment does not import:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
