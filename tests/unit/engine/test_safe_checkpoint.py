from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from minkocc.config import ConfigError
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.evaluation.metrics import OccupancyMetric
from minkocc.files.checkpoints import read_checkpoint
from tests.forked import run_group

RUNNER = SimpleNamespace(
    cfg=Config({"alpha": 0.1, "weak_frames": [8, 0], "data_root": "x", "log_level": "INFO"})
)


def make_checkpoint():
    return {
        "meta": {"iter": 3, "config": "import os"},
        "message_hub": {
            "log_scalars": {"train/loss": HistoryBuffer([1.0, 2.0], [1, 1])},
            "runtime_info": {"iter": 3, "eta": np.float64(2.5), "names": ["a"], "odd": object()},
            "resumed_keys": {"iter": True},
        },
    }


def test_what_is_written_loads_without_running_anything(tmp_path):
    hook, checkpoint = SafeCheckpointHook(), make_checkpoint()
    hook.before_save_checkpoint(RUNNER, checkpoint)
    torch.save(checkpoint, tmp_path / "c.pth")
    loaded = torch.load(tmp_path / "c.pth", weights_only=True)
    # numpy's float64 is a float to isinstance, and a foreign type to torch.
    assert loaded["message_hub"]["runtime_info"] == {"iter": 3, "names": ["a"]}
    assert loaded["meta"] == {
        "iter": 3,
        "run": {"alpha": 0.1, "weak_frames": [8, 0], "processes": 1},
    }


def test_history_survives(tmp_path):
    hook, checkpoint = SafeCheckpointHook(), make_checkpoint()
    hook.before_save_checkpoint(RUNNER, checkpoint)
    hook.after_load_checkpoint(None, checkpoint)
    buffer = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    assert buffer.data[0].tolist() == [1.0, 2.0]
    assert buffer.mean() == 1.5


def test_config_text_of_a_foreign_checkpoint_is_dropped_unread():
    checkpoint = {"meta": {"config": "raise SystemExit"}, "state_dict": {}}
    SafeCheckpointHook().after_load_checkpoint(None, checkpoint)
    assert checkpoint["meta"] == {}


def with_metrics(*metrics):
    """A runner that validates by these, or not at all."""
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=list(metrics))) if metrics else None
    return SimpleNamespace(val_loop=loop)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("occ3d/mIoU", r"save_best 'occ3d/mIoU' is none .*did you mean 'occ3d/miou'\?"),
        ("miou", "save_best 'miou' is none of what validation reports"),
        ("rayiou/rayiou_mIoU", "did you mean 'rayiou/rayiou'"),
        ("mIoU", r"It reports occ3d/miou, .*rayiou/rayiou@1"),
    ],
)
def test_a_best_of_what_is_not_reported_is_refused_before_training(name, words):
    hook = SafeCheckpointHook(save_best=name, rule="greater")
    with pytest.raises(ConfigError, match=words):
        hook.before_train(with_metrics(OccupancyMetric(["occ3d", "rayiou"])))


def test_a_best_without_validation_is_refused():
    for name in ("occ3d/miou", "auto"):
        with pytest.raises(ConfigError, match=f"save_best {name}: .*no validation"):
            SafeCheckpointHook(save_best=name).before_train(with_metrics())


@pytest.mark.parametrize(
    ("names", "metrics"),
    [
        (["occ3d/miou", "rayiou/rayiou@1"], [OccupancyMetric(["occ3d", "rayiou"])]),
        (["val/occ3d/miou"], [OccupancyMetric(prefix="val")]),
        ("auto", [OccupancyMetric()]),
        ("theirs/accuracy", [OccupancyMetric(), SimpleNamespace()]),
        (None, []),
    ],
)
def test_a_best_of_what_is_reported_is_kept(names, metrics):
    rule = None if names in (None, "auto") else "greater"
    SafeCheckpointHook(save_best=names, rule=rule)._check_save_best(with_metrics(*metrics))


def test_names_are_those_of_an_evaluation():
    metric = OccupancyMetric(["occ3d", "rayiou", "raypq", "paper-repo", "selfsup15"])
    label = np.full((200, 200, 16), 17, np.uint8)
    label[:, :, 0] = 11
    mask = np.ones(label.shape, bool)
    sample = {
        "token": "a",
        "pred_semantics": label,
        "voxel_semantics": label,
        "mask_camera": mask,
        "ray_origins": np.zeros((1, 3)),
    }
    metric.process(None, [sample])
    assert list(metric.evaluate(1)) == metric.names()


class Normalised(BaseModel):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm1d(2)

    def forward(self, rows, mode):
        return {"loss": self.bn(rows).square().sum()}


class Mean(Hook):
    """Notes the running mean, before the checkpoint or after it."""

    def __init__(self, priority):
        self.priority = priority
        self.seen = []

    def after_train_iter(self, runner, *_, **__):
        self.seen.append(runner.model.bn.running_mean.clone())


def train_rank(rank, folder):
    """Two iterations of one epoch, on other data than the other process's."""
    torch.manual_seed(rank)
    before, after = Mean("LOW"), Mean("LOWEST")
    Runner(
        Normalised(),
        work_dir=str(folder),
        train_dataloader=DataLoader([{"rows": row} for row in torch.randn(8, 2)], batch_size=4),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        default_hooks={"checkpoint": {"type": "SafeCheckpointHook", "by_epoch": False}},
        custom_hooks=[before, after],
        default_scope="minkocc",
        experiment_name=f"rank {rank}",
    ).train()
    torch.save([before.seen, after.seen], folder / f"means_{rank}.pt")


@pytest.mark.processes
def test_amid_an_epoch_processes_and_checkpoint_have_the_mean_of_the_buffers(tmp_path):
    run_group(train_rank, 2, tmp_path)
    (before, after), (others, others_after) = (
        torch.load(tmp_path / f"means_{rank}.pt") for rank in (0, 1)
    )
    assert len(before) == 2
    for number, (mine, other) in enumerate(zip(before, others), start=1):
        assert not torch.allclose(mine, other)
        mean = (mine + other) / 2
        torch.testing.assert_close(after[number - 1], mean)
        torch.testing.assert_close(others_after[number - 1], mean)
        saved = read_checkpoint(tmp_path / f"iter_{number}.pth")["state_dict"]
        torch.testing.assert_close(saved["bn.running_mean"], mean)
