"""The train loop entered at any iteration, on a model of one weight."""

import itertools

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader, Dataset, Sampler

from minkocc.engine.train_loop import ResumableTrainLoop

PER_EPOCH, EPOCHS = 4, 3


class Frames(Dataset):
    def __len__(self):
        return PER_EPOCH

    def __getitem__(self, iteration):
        return {"inputs": torch.tensor(float(iteration))}


class FromIteration(Sampler):
    """Yields the iterations that are left of the epoch, as WarmStartSampler does."""

    start_iter = 0

    def __len__(self):
        return PER_EPOCH

    def __iter__(self):
        end = (self.start_iter // PER_EPOCH + 1) * PER_EPOCH
        yield from range(self.start_iter, end)


class OneWeight(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs, mode="loss"):
        return {"loss": self.weight * inputs}


class Loop(ResumableTrainLoop):
    """Records (epoch, place in it, the frame that was drawn)."""

    def run_epoch(self):
        self.dataloader.sampler.start_iter = self._iter  # what WarmStartHook does
        super().run_epoch()

    def run_iter(self, idx, data_batch):
        self.seen = [*getattr(self, "seen", []), (self.epoch, idx, int(data_batch["inputs"]))]
        super().run_iter(idx, data_batch)


def train_from(tmp_path, epoch, iteration, *hooks):
    loader = DataLoader(Frames(), sampler=FromIteration())
    runner = Runner(
        OneWeight(),
        str(tmp_path),
        train_dataloader=loader,
        train_cfg={"type": Loop, "max_epochs": EPOCHS},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        custom_hooks=list(hooks),
        experiment_name=f"loop_{tmp_path.name}_{iteration}",
        default_hooks={"logger": None, "checkpoint": None, "sampler_seed": None},
        log_level="ERROR",
    )
    loop = runner.train_loop
    # What mmengine's resume sets from the checkpoint's meta.
    loop._epoch, loop._iter = epoch, iteration
    runner.train()
    return loop


@pytest.mark.parametrize(
    ("epoch", "iteration"),
    [(0, 0), (0, 1), (0, 3), (1, 6), (1, 4), (0, 4), (1, 8), (2, 12)],
    ids=lambda value: str(value),
)
def test_what_is_left_is_run_once_with_its_place_and_epoch(tmp_path, epoch, iteration):
    """(0, 4) is a checkpoint of an epoch's last iteration, which still names that epoch."""
    loop = train_from(tmp_path, epoch, iteration)
    expected = [(i // PER_EPOCH, i % PER_EPOCH, i) for i in range(iteration, EPOCHS * PER_EPOCH)]
    assert getattr(loop, "seen", []) == expected
    assert (loop.epoch, loop.iter) == (EPOCHS, EPOCHS * PER_EPOCH)


@pytest.mark.parametrize("iteration", [0, 4, 6, 8, 12])
def test_the_end_of_a_finished_epoch_is_made_up_for(tmp_path, iteration):
    """A checkpoint of an epoch's last iteration is written before the epoch's end is called:
    by-epoch schedulers, averaged buffers and validation would be left out."""
    named = max(0, (iteration - 1) // PER_EPOCH)
    ended = []

    class Ends(Hook):
        def after_train_epoch(self, runner):
            ended.append((runner.epoch, runner.iter))

    train_from(tmp_path, named, iteration, Ends())
    assert ended == [(epoch, (epoch + 1) * PER_EPOCH) for epoch in range(named, EPOCHS)]


NUMBERS = itertools.count()


class Killed(BaseException):
    """What a SIGKILL is to the process that is no more."""


class Validation(BaseLoop):
    """Records the epochs after which it ran; ends in the midst of that of ``dies_at``."""

    seen = None
    dies_at = None

    def __init__(self, runner, dataloader, evaluator):
        super().__init__(runner, dataloader)

    def run(self):
        if self.runner.epoch == self.dies_at:
            Validation.dies_at = None
            raise Killed
        Validation.seen.append(self.runner.epoch)


def go_on(work_dir, epoch, checkpoint=None, resume=True):
    """Train from the end of an epoch; returns the epochs after which it validated."""
    runner = Runner(
        OneWeight(),
        str(work_dir),
        train_dataloader=DataLoader(Frames(), sampler=FromIteration()),
        train_cfg={"type": Loop, "max_epochs": EPOCHS},
        val_dataloader=DataLoader(Frames()),
        val_cfg={"type": Validation},
        val_evaluator=[],
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        experiment_name=f"val_{next(NUMBERS)}",
        default_hooks={"logger": None, "checkpoint": None, "sampler_seed": None},
        log_level="ERROR",
    )
    loop = runner.train_loop
    loop._epoch, loop._iter = epoch, epoch * PER_EPOCH
    runner.load_or_resume = lambda: None
    runner._resume = resume and epoch > 0
    runner._load_from = str(checkpoint or work_dir / f"epoch_{epoch}.pth")
    Validation.seen = []
    runner.train()
    return Validation.seen


@pytest.mark.parametrize("epoch", [1, 2, EPOCHS])
def test_a_validation_that_was_cut_off_is_made_up_for(tmp_path, monkeypatch, epoch):
    """The checkpoint is written before it: what goes on there would leave it out."""
    monkeypatch.setattr(Validation, "dies_at", epoch)
    with pytest.raises(Killed):
        go_on(tmp_path, 0)
    assert Validation.seen == list(range(1, epoch))
    assert go_on(tmp_path, epoch) == list(range(epoch, EPOCHS + 1))
    assert go_on(tmp_path, EPOCHS) == []  # what was measured is not measured again


def test_the_validation_of_another_run_is_none_of_this_one(tmp_path):
    assert go_on(tmp_path / "first", 0) == [1, 2, 3]
    # A checkpoint of elsewhere was validated there, if at all.
    elsewhere = tmp_path / "first" / "epoch_2.pth"
    assert go_on(tmp_path / "second", 2, elsewhere) == [3]
    # Nor does what a former run in the folder has measured stand for this one's.
    Validation.dies_at = 3
    with pytest.raises(Killed):
        go_on(tmp_path / "first", 0)
    assert go_on(tmp_path / "first", 3) == [3]
