"""What a runner gets on a card and without one, where the recipe leaves it open."""

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from minkocc.config import ConfigError, load_config
from minkocc.engine import runner as runners
from minkocc.files.infos import InfoError
from minkocc.files.occupancy import LabelBudgetError
from minkocc.registry import VISBACKENDS
from minkocc.structures.errors import UserError
from tests.unit.config.test_load import MINI


@pytest.fixture
def card(monkeypatch):
    """Settings for a card without one: nothing of it is asked but whether it has bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def amp(**options):
    cfg = load_config(MINI)
    cfg.optim_wrapper.update(type="AmpOptimWrapper", **options)
    return cfg


def test_a_card_gets_tf32_pinned_memory_and_bfloat16(card):
    cfg = amp()
    runners._fit_to_cuda(cfg)
    assert torch.get_float32_matmul_precision() == "high"
    assert all(cfg[f"{name}_dataloader"].pin_memory for name in ("train", "val", "test"))
    assert cfg.optim_wrapper.dtype == "bfloat16"


def test_what_the_recipe_says_stays(card):
    cfg = amp(dtype="float16")
    cfg.train_dataloader.pin_memory = False
    runners._fit_to_cuda(cfg)
    assert cfg.optim_wrapper.dtype == "float16"
    assert cfg.train_dataloader.pin_memory is False


def test_a_card_without_bfloat16_keeps_float16(card, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    cfg = amp()
    runners._fit_to_cuda(cfg)
    assert "dtype" not in cfg.optim_wrapper  # mmengine's own is float16


def test_without_a_card_nothing_is_pinned_and_amp_is_that_of_the_cpu():
    cfg = amp(loss_scale="dynamic")
    cfg.launcher = "none"
    runners._fit_to_cpu(cfg)
    assert cfg.optim_wrapper.type == "CpuAmpOptimWrapper"
    assert "pin_memory" not in cfg.train_dataloader


def test_buffers_are_not_sent_before_every_iteration():
    assert load_config(MINI).model_wrapper_cfg.broadcast_buffers is False


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a parameter group that doesn't match the size"), "doesn't match the size"),
        (KeyError("param_groups"), "param_groups"),
    ],
)
def test_a_state_that_does_not_fit_names_the_checkpoint(monkeypatch, error, words):
    def resume(self, filename):
        raise error

    monkeypatch.setattr(Runner, "resume", resume)
    runner = runners._Runner.__new__(runners._Runner)
    with pytest.raises(UserError, match=rf"state in c\.pth does not fit .*{words}.*load_from=PATH"):
        runner.resume("c.pth")


def test_what_else_is_wrong_with_it_stays(monkeypatch):
    def resume(self, filename):
        raise LabelBudgetError("other scenes")

    monkeypatch.setattr(Runner, "resume", resume)
    with pytest.raises(LabelBudgetError, match=r"^other scenes$"):
        runners._Runner.__new__(runners._Runner).resume("c.pth")


@pytest.mark.parametrize("part", ["train_loop", "val_loop", "optim_wrapper", "param_scheduler"])
@pytest.mark.parametrize("error", [ValueError, KeyError, AssertionError])
def test_what_refuses_a_value_when_training_begins_is_one_line_too(monkeypatch, part, error):
    def build(self, cfg):
        raise error("replay 2 is outside [0, 1)")

    monkeypatch.setattr(Runner, f"build_{part}", build)
    runner = runners._Runner.__new__(runners._Runner)
    with pytest.raises(ConfigError, match=r"the recipe cannot be built: .?replay 2 is outside"):
        getattr(runner, f"build_{part}")({})


def test_what_a_data_set_cannot_read_stays_in_its_own_words(monkeypatch):
    def build(self, cfg):
        raise InfoError("info file x does not exist")

    monkeypatch.setattr(Runner, "build_train_loop", build)
    with pytest.raises(InfoError, match=r"^info file x does not exist$"):
        runners._Runner.__new__(runners._Runner).build_train_loop({})


@pytest.mark.processes
def test_data_workers_end_when_the_runner_is_done():
    loader = DataLoader(range(4), num_workers=2, persistent_workers=True)
    runner = SimpleNamespace(
        _train_loop=SimpleNamespace(dataloader=loader),
        _val_loop={"type": "ValLoop"},
        _test_loop=None,
    )
    batches = iter(loader)  # whom an exception's traceback may hold
    assert next(batches) == 0
    workers = set(batches._workers)
    assert workers <= set(multiprocessing.active_children())
    runners._Runner._end_data_workers(runner)
    runners._Runner._end_data_workers(runner)
    assert not workers & set(multiprocessing.active_children())


def test_no_config_stands_under_its_name_before_all_of_it_does(tmp_path, monkeypatch):
    """To make its text takes a while, in which the power may go."""
    there = []
    text = Config.pretty_text.fget

    def slowly(cfg):
        there.append([path.name for path in tmp_path.rglob("*.py")])
        return text(cfg)

    monkeypatch.setattr(Config, "pretty_text", property(slowly))
    cfg = Config({"alpha": 0.1})
    runner = runners._Runner.__new__(runners._Runner)
    runner.cfg, runner._work_dir, runner._timestamp = cfg, str(tmp_path), "now"
    runner.dump_config()
    log = {"type": "LocalVisBackend", "save_dir": str(tmp_path / "vis_data")}
    with DefaultScope.overwrite_default_scope("minkocc"):
        VISBACKENDS.build(log).add_config(cfg)
    assert there == [[], ["now.py"]]
    for path in (tmp_path / "now.py", tmp_path / "vis_data" / "config.py"):
        assert Config.fromfile(path).alpha == 0.1
