"""A work dir holds one run: nobody trains over another one, nor beside one, unasked."""

import errno
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from minkocc.config import load_config
from minkocc.engine import launch, work_dir
from minkocc.engine.runner import build_runner
from minkocc.engine.train_loop import ResumableTrainLoop
from minkocc.engine.work_dir import WorkDirError, claimed
from minkocc.structures.errors import UserError
from tests.unit.config.test_load import MINI

RECIPE = "alpha = 0.1\ndata_root = 'here'\nnum_workers = 2\n"


def claim(folder, recipe=RECIPE, begin_from=None, resume=False, overwrite=False):
    with claimed(folder, recipe, begin_from, resume, overwrite):
        pass


@pytest.mark.parametrize("name", ["epoch_3.pth", "iter_200.pth", "best_occ3d_miou_epoch_2.pth"])
def test_a_run_with_a_checkpoint_is_not_trained_over(tmp_path, name):
    (tmp_path / name).write_text("weights")
    with pytest.raises(
        WorkDirError, match=rf"holds a run already \({name}\).*--resume.*--overwrite"
    ):
        claim(tmp_path)
    claim(tmp_path, resume=True)
    claim(tmp_path, resume=True, begin_from=str(tmp_path / name))
    claim(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == "weights"


def test_nor_is_it_by_a_run_that_goes_on_from_elsewhere(tmp_path):
    (tmp_path / "epoch_3.pth").touch()
    with pytest.raises(WorkDirError, match="holds a run already"):
        claim(tmp_path, resume=True, begin_from=str(tmp_path / "other" / "epoch_1.pth"))


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        (None, False),
        (RECIPE, False),
        (RECIPE.replace("here", "there").replace("2", "0"), False),
        (RECIPE.replace("0.1", "0.2"), True),
        (RECIPE + "seed = 1\n", True),
    ],
    ids=["none", "same", "same from another root", "another alpha", "one more line"],
)
def test_what_has_no_checkpoint_may_begin_again_if_it_is_the_same(tmp_path, kept, refused):
    if kept is not None:
        (tmp_path / "recipe.py").write_text(kept)
    if refused:
        with pytest.raises(WorkDirError, match=r"another recipe \(recipe\.py\).*--overwrite"):
            claim(tmp_path)
    else:
        claim(tmp_path)
    claim(tmp_path, overwrite=True)


def test_what_a_run_begins_from_is_not_removed_for_it(tmp_path):
    (tmp_path / "epoch_3.pth").touch()
    with pytest.raises(WorkDirError, match=r"--overwrite would remove .*epoch_3\.pth"):
        claim(tmp_path, begin_from=str(tmp_path / "epoch_3.pth"), overwrite=True)


def test_what_a_killed_training_had_begun_to_write_goes(tmp_path):
    ours = (".label_audit.json.a1.part", ".last_checkpoint.a1.part", ".epoch_1.pth.a1.part",
            ".recipe.py.a1.part", ".mine.py.a1.part", ".last_validation.a1.part")  # fmt: skip
    others = (".test.json.a1.part", "recipe.py")
    for name in (*ours, *others):
        (tmp_path / name).write_text(RECIPE)
    claim(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".training.lock"}


def test_two_trainings_do_not_share_a_work_dir(tmp_path):
    with claimed(tmp_path, RECIPE, None, False, False):
        with pytest.raises(WorkDirError, match=rf"process {os.getpid()} on .* is at work in"):
            claim(tmp_path)
        with pytest.raises(WorkDirError, match="at work in"):
            claim(tmp_path, resume=True, overwrite=True)
    claim(tmp_path)


def test_a_run_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, RECIPE, None, False, False):
        raise KeyboardInterrupt
    claim(tmp_path)


@pytest.mark.processes
def test_the_lock_dies_with_its_process_and_not_with_its_workers(tmp_path):
    """A worker that outlives its parent for some seconds must not keep a resumed run out."""
    read, write = os.pipe()
    holder = os.fork()
    if not holder:
        with claimed(tmp_path, RECIPE, None, False, False):
            if not os.fork():  # what Python does in a new process is done when it comes here
                os.write(write, str(os.getpid()).encode())
            time.sleep(60)
            os._exit(0)
    worker = int(os.read(read, 20))
    try:
        with pytest.raises(WorkDirError, match="at work in"):
            claim(tmp_path)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        os.kill(worker, 0)  # it lives
        claim(tmp_path)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(read), os.close(write)


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    said = []
    monkeypatch.setattr(work_dir.fcntl, "flock", flock)
    monkeypatch.setattr(work_dir, "print_log", lambda text, **_: said.append(text))
    claim(tmp_path)
    assert said == [
        f"{tmp_path} cannot be locked (No locks available): see to it yourself that no other "
        "training runs in it"
    ]


def test_the_other_processes_learn_of_it(tmp_path, monkeypatch):
    """Only the main one looks and locks; here it is another process."""

    def told(text):
        def broadcast(data):
            data[0] = text

        return broadcast

    monkeypatch.setattr(work_dir, "is_main_process", lambda: False)
    monkeypatch.setattr(work_dir, "broadcast_object_list", told("at work elsewhere"))
    with pytest.raises(WorkDirError, match="at work elsewhere"):
        claim(tmp_path)
    monkeypatch.setattr(work_dir, "broadcast_object_list", told(None))
    claim(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), None])
def test_the_main_process_tells_them_whatever_it_was(tmp_path, monkeypatch, error):
    sent = []
    monkeypatch.setattr(work_dir, "broadcast_object_list", sent.append)
    if error is None:
        (tmp_path / "epoch_1.pth").touch()
    else:
        monkeypatch.setattr(work_dir, "_lock", lambda _: (_ for _ in ()).throw(error))
    with pytest.raises((WorkDirError, OSError)) as caught:
        claim(tmp_path)
    assert sent == [[str(caught.value)]]


class StopHereError(Exception):
    """Raised where training would begin."""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """``begin(**cfg)`` calls ``train`` up to the point where the runner trains."""

    def train():
        raise StopHereError(*sorted(path.name for path in tmp_path.iterdir()))

    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), train=train)
    monkeypatch.setattr(launch, "build_runner", lambda cfg: runner)

    def call(overwrite=False, start_anew=False, **values):
        cfg = Config({"work_dir": str(tmp_path), "resume": False, "load_from": None, **values})
        launch.train(cfg, Config({"alpha": 0.1}), overwrite, start_anew)

    return call


def save(path, **parts):
    """A checkpoint of the linear layer, which can be resumed but for what is None."""
    state = torch.nn.Linear(1, 1).state_dict()
    content = {
        "state_dict": state,
        "meta": {"iter": 3, "epoch": 1},
        "message_hub": {},
        "optimizer": {"state": {}, "param_groups": []},
        "param_schedulers": [],
        **parts,
    }
    torch.save({name: part for name, part in content.items() if part is not None}, path)
    path.with_name("last_checkpoint").write_text(str(path))


def test_what_is_overwritten_goes_when_all_else_is_ready(begin, tmp_path, monkeypatch):
    save(tmp_path / "epoch_3.pth")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(WorkDirError, match="holds a run already"):
        begin()
    with monkeypatch.context() as patch:
        patch.setattr(launch, "build_runner", lambda cfg: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begin(overwrite=True)
    assert (tmp_path / "epoch_3.pth").is_file()
    with pytest.raises(StopHereError) as seen:
        begin(overwrite=True)
    assert set(seen.value.args) == {".training.lock", "notes.txt", "recipe.py"}


def test_resuming_where_nothing_is_begins_anew_only_when_asked(begin, tmp_path):
    with pytest.raises(UserError, match=r"--resume: .* has no checkpoint .*--resume auto"):
        begin(resume=True)
    with pytest.raises(StopHereError):
        begin(resume=True, start_anew=True)


def test_resuming_auto_goes_on_where_there_is_something(begin, tmp_path, monkeypatch):
    save(tmp_path / "epoch_1.pth", param_schedulers=None)
    with pytest.raises(StopHereError):
        begin(resume=True, start_anew=True)


def test_a_run_that_fails_closes_no_label_to_what_comes_after(begin, monkeypatch):
    calls = []
    monkeypatch.setattr(launch, "watch_truth", calls.append)
    with pytest.raises(StopHereError):
        begin()
    assert calls == [None]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"optimizer": None}, "lacks the optimiser's state,"),
        ({"param_schedulers": None}, "lacks the schedule's,"),
        ({"meta": None}, "lacks the iteration it is of,"),
        ({"meta": {"epoch": 1}}, "lacks the iteration it is of,"),
        ({"meta": {"iter": "3", "epoch": 1}}, "lacks the iteration it is of,"),
        ({"optimizer": {}}, "lacks the optimiser's state,"),
        ({"message_hub": None}, "lacks the log,"),
        (
            {"meta": None, "message_hub": None, "optimizer": None, "param_schedulers": None},
            "lacks the iteration it is of, the log, the optimiser's state, the schedule's,",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_says_too_little_is_not_resumed(begin, tmp_path, parts, words):
    save(tmp_path / "epoch_1.pth", **parts)
    with pytest.raises(UserError, match=rf"epoch_1\.pth {words} .*load_from=PATH"):
        begin(resume=True, param_scheduler=[{"type": "LinearLR"}])


@pytest.mark.parametrize(
    ("iteration", "words"), [(9, "of iteration 9, and this recipe ends at 8"), (8, None)]
)
def test_a_run_that_is_over_says_so(tmp_path, monkeypatch, iteration, words):
    said = []
    monkeypatch.setattr("minkocc.engine.train_loop.print_log", lambda text, **_: said.append(text))
    loop = ResumableTrainLoop.__new__(ResumableTrainLoop)
    loop._runner = SimpleNamespace(
        call_hook=lambda _: None, model="trained", work_dir=tmp_path, _resume=False, _load_from=None
    )
    loop.dataloader, loop._iter, loop._max_iters = range(4), iteration, 8
    loop._epoch = loop._max_epochs = 2
    loop.stop_training = False
    if words:
        with pytest.raises(UserError, match=f"{words}.*max_epochs"):
            loop.run()
    else:
        assert loop.run() == "trained"
        assert said == ["nothing is left to train: the run ended at iteration 8 of 8"]


@pytest.mark.parametrize(
    ("launcher", "variable"),
    [("pytorch", "RANK"), ("slurm", "SLURM_PROCID"), ("mpi", "OMPI_COMM_WORLD_LOCAL_RANK")],
)
def test_a_launcher_that_did_not_start_the_process_is_named(monkeypatch, launcher, variable):
    monkeypatch.delenv(variable, raising=False)
    cfg = load_config(MINI)
    cfg.launcher = launcher
    with pytest.raises(UserError, match=f"--launcher {launcher}: {variable} is not set.*leave"):
        build_runner(cfg)
