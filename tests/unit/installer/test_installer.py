import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from installer import console, wheels
from installer.console import InstallError, run_logged
from installer.minkowski_patch import _EDITS, apply_patches
from installer.wheels import BuildEnvironment

ROOT = Path(__file__).resolve().parents[3]


def environment(torch="2.13.0", cuda="cpu", tag="3.11"):
    return BuildEnvironment(Path(sys.executable), tag, torch, cuda)


def fake_source(root):
    for name, old, _, count in _EDITS:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        path.write_text(text + (old + "\n") * count)
    return root


def test_every_edit_is_applied_once(tmp_path):
    source = fake_source(tmp_path)
    apply_patches(source)
    for name, _, new, _ in _EDITS:
        assert new in (source / name).read_text()
    with pytest.raises(InstallError, match="expected 1 of"):
        apply_patches(source)


def test_cache_is_keyed_by_all_that_the_binary_depends_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = {
        wheels._cache_folder("mmcv", "2.1.0", patch, env)
        for patch in ("none", "p1")
        for env in (environment(), environment(torch="2.12.0"), environment(cuda="13.0"))
    }
    folders.add(wheels._cache_folder("mmcv", "2.1.0", "none", environment(tag="3.12")))
    assert len(folders) == 7
    assert all(folder.parent == tmp_path / "minkocc" / "wheels" for folder in folders)


def test_a_cached_wheel_is_not_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = wheels._cache_folder("mmcv", wheels.MMCV_VERSION, "none", environment())
    folder.mkdir(parents=True)
    wheel = folder / "mmcv-2.1.0-cp311-cp311-linux_x86_64.whl"
    wheel.touch()
    monkeypatch.setenv("PATH", "")
    assert wheels.mmcv_wheel(environment()) == wheel


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ("compiler", "apt-get install g\\+\\+"),
        ("headers", "python3-dev"),
        ("disk", "GB free under"),
    ],
)
def test_what_is_missing_is_one_line_before_anything_is_built(
    tmp_path, monkeypatch, breakage, words
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if breakage == "compiler":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif breakage == "headers":
        monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    else:
        usage = shutil.disk_usage(tmp_path)._replace(free=10**8)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(InstallError, match=words) as caught:
        wheels.minkowski_wheel(environment())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "minkocc").exists()


def test_a_failed_command_shows_its_last_lines_and_its_log(tmp_path, capsys):
    log = tmp_path / "x.log"
    code = "import sys; print('[3/7] compiling'); print('boom'); sys.exit(3)"
    with pytest.raises(InstallError, match=r"step failed \(exit 3\).*\n(.*\n)*.*boom"):
        run_logged([sys.executable, "-c", code], "step", log)
    assert "boom" in log.read_text()
    assert "failed in" in capsys.readouterr().out


def test_a_python_whose_torch_is_broken_says_why(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ImportError: libtorch.so: no such file' >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(InstallError, match=r"libtorch\.so: no such file.*delete \.venv"):
        BuildEnvironment.of(broken)


def test_build_progress_names_the_file_in_work(capsys, monkeypatch):
    ticker = console._Ticker("building", 0.0)
    monkeypatch.setattr(console.time, "monotonic", lambda: 10_000.0)
    ticker.update("[12/77] c++ something\n")
    assert "file 12 of 77" in capsys.readouterr().out


def test_the_installer_needs_the_standard_library_alone():
    code = "import installer.__main__, sys; print('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False", done.stderr


def test_both_compilers_find_blas_and_thrust(tmp_path, monkeypatch):
    """nvcc reads no CFLAGS, and the C++ compiler does not know where CUDA 13 keeps Thrust."""
    cuda, source = tmp_path / "cuda", tmp_path / "source"
    (cuda / "include" / "cccl").mkdir(parents=True)
    source.mkdir()
    (source / "setup.py").write_text("libraries.append(BLAS)\n")
    monkeypatch.setenv("CUDA_HOME", str(cuda))
    found = wheels._cblas_variables(source, environment(cuda="13.0"))
    for flags in (found["CFLAGS"], found["NVCC_APPEND_FLAGS"]):
        assert "-Dcblas_sgemm=scipy_cblas_sgemm" in flags
        assert "scipy_openblas32" in flags
    thrust = f"-I{cuda / 'include' / 'cccl'}"
    assert thrust in found["CFLAGS"]
    assert thrust not in wheels._cblas_variables(source, environment())["CFLAGS"]
