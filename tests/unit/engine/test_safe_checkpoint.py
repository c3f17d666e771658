from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from minkocc.engine.safe_checkpoint import SafeCheckpointHook

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
