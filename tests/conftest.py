"""What the whole suite shares: one thread a process, and a small synthetic world."""

import gc
import os
import shutil
import signal

# Two OpenMP teams on two cores spin against each other; and MinkowskiEngine's CPU convolution is
# bit-exact with one thread only. The tools that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MINKOCC_SPARE_TRANSFORMERS"] = "1"  # 2.5 seconds in every process

import pytest
from filelock import FileLock
from hypothesis import settings

from minkocc.synthetic.writing.writer import WorldSettings, write_dataset
from tests.unit.evaluation.prediction_folders import write_folders

# The same examples in every run; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

WORLD = WorldSettings(train_scenes=3, val_scenes=1, keyframes=2, seed=0, image_size=(192, 108))
TINY = WorldSettings(
    train_scenes=1, val_scenes=1, keyframes=2, seed=3, image_size=(320, 180),
    clean_pseudo_labels=True,
)  # fmt: skip


def pytest_configure():
    gc.disable()  # a million objects are imported now and stay: a fifth of the time went there


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.freeze()


def pytest_collection_modifyitems(items):
    """A file that needs a world begins, for each: the processes make one each and wait for none."""
    first = {}
    for item in items:
        for world in {"synthetic_root", "tiny_root"} & set(item.fixturenames):
            first.setdefault(world, item.path)
    items.sort(key=lambda item: item.path not in first.values())


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """``made_once(name, make)``: a folder that one test process makes and all of them share."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def get(name, make):
        folder, made = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # half of it, where making failed
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def synthetic_root(made_once):
    """A nuScenes root of four scenes with infos; tests that change files use ``linked_root``."""

    # The process that hands the tests out reads this file too, and does not need what this imports.
    from minkocc.datasets.infos import create_infos

    def make(root):
        write_dataset(root, WORLD, workers=1)
        create_infos(root, "v1.0-synthetic")

    return made_once("synthetic", make)


@pytest.fixture(scope="session")
def tiny():
    """What the tiny data set holds."""
    return TINY


@pytest.fixture(scope="session")
def tiny_root(made_once):
    """Root of two scenes of two keyframes with clean pseudo-labels, written by one process."""
    return made_once("tiny", lambda root: write_dataset(root, TINY, workers=1))


@pytest.fixture(scope="session")
def tiny_models(made_once):
    """A folder of models of ``transformers`` with random weights, by the names of ``MAKERS``."""
    from tests.unit.pseudo_labels.tiny_models import save_all

    return made_once("models", save_all)


@pytest.fixture
def folders(made_once, tmp_path):
    """Labels and predictions of three frames, to be changed as a test likes."""
    made = made_once("prediction_folders", write_folders)
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


class TooLate(BaseException):
    """No ``Exception``: what catches those must not take it for a damaged file."""


@pytest.fixture
def soon():
    """Fail a test that waits for what never comes, such as a writer to a pipe."""

    def late(number, frame):
        raise TooLate("this should have ended long ago")

    former = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture
def linked_root(synthetic_root, tmp_path):
    """The same world by links: replace a link by a file and nothing else changes."""
    root = tmp_path / "root"
    for path in sorted(synthetic_root.rglob("*")):
        copy = root / path.relative_to(synthetic_root)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif copy.parts[len(root.parts)] not in ("weak_occupancy", "label_budget"):
            copy.symlink_to(path)
    return root
