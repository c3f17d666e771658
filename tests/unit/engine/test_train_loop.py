"""The train loop entered at any iteration, on a model of one weight."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
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
