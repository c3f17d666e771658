"""A run that is killed and resumed ends as if it had never stopped."""

import signal
from pathlib import Path

import pytest
import torch

from tests.e2e.job import (
    ALPHA,
    CONFIG,
    EPOCHS,
    FRAMES,
    SWITCH,
    options,
    training_lines,
)
from tests.e2e.record_draws import draws
from tests.forked import ToolProcess

TOTAL = EPOCHS * FRAMES
VARIANTS = {
    "plain": ("custom_hooks = [dict(type='RecordDraws')]", []),
    "ema and amp": (
        "custom_hooks = [dict(type='RecordDraws'), dict(type='EMAHook', momentum=0.1)]\n"
        "optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')",
        ["--amp"],
    ),
}


class Run:
    """One recipe with a checkpoint every second iteration, started as often as a test likes."""

    def __init__(self, root, folder, variant):
        self.root = root
        self.folder = folder
        hooks, self.flags = VARIANTS[variant]
        self.config = folder / "recorded.py"
        imports = "custom_imports = dict(imports=['tests.e2e.record_draws'])"
        self.config.write_text(f"_base_ = [{str(CONFIG)!r}]\n{imports}\n{hooks}\n")

    def start(self, work_dir, *flags):
        saving = {
            "default_hooks.checkpoint.by_epoch": False,
            "default_hooks.checkpoint.interval": 2,
            "default_hooks.checkpoint.max_keep_ckpts": -1,
            "val_cfg": None,
        }  # fmt: skip
        flags = (*self.flags, *flags, *options(self.root, **saving))
        return ToolProcess("train.py", self.config, "--work-dir", work_dir, *flags)

    def finish(self, work_dir, *flags):
        done = self.start(work_dir, *flags).wait()
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def kill_after(self, work_dir, checkpoint):
        """SIGKILL to the process and its data workers as soon as the checkpoint is there."""
        process = self.start(work_dir)
        note = work_dir / "last_checkpoint"
        process.wait_for(lambda: note.is_file() and note.read_text().endswith(checkpoint))
        process.kill()
        assert process.poll() == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(synthetic_root, tmp_path_factory):
    """The run of each variant that nobody stops, made when first asked for."""
    known = {}

    def get(variant):
        if variant not in known:
            folder = tmp_path_factory.mktemp("uninterrupted")
            run = Run(synthetic_root, folder, variant)
            run.finish(folder / "work")
            known[variant] = run
        return known[variant]

    return get


def weights(work_dir):
    return torch.load(work_dir / f"iter_{TOTAL}.pth", weights_only=True)


@pytest.mark.parametrize(
    ("variant", "last"),
    [
        ("plain", 2),
        pytest.param("plain", FRAMES + 2, marks=pytest.mark.slow),  # as the next one
        ("ema and amp", FRAMES + 2),
    ],
)
def test_resumed_run_is_the_uninterrupted_one(uninterrupted, tmp_path, variant, last):
    run = uninterrupted(variant)
    whole = draws(run.folder / "work")
    assert [iteration for iteration, _, _ in whole] == list(range(TOTAL))
    assert [phase for _, phase, _ in whole] == ["warm"] * SWITCH + ["weak"] * (TOTAL - SWITCH)

    run.kill_after(tmp_path, f"iter_{last}.pth")
    before = draws(tmp_path)
    assert before == whole[: len(before)]
    assert last <= len(before) < TOTAL
    # A later checkpoint may have been written between the look and the kill.
    saved = int(Path((tmp_path / "last_checkpoint").read_text()).stem.removeprefix("iter_"))
    assert last <= saved < TOTAL

    output = run.finish(tmp_path, "--resume")
    assert draws(tmp_path)[len(before) :] == whole[saved:]
    # The log's places go on too: [epoch][place/length].
    assert [number for number, _, _ in training_lines(output)] == list(range(saved, TOTAL))

    expected, found = weights(run.folder / "work"), weights(tmp_path)
    for part in ("state_dict", *(["ema_state_dict"] if "ema" in variant else [])):
        assert expected[part].keys() == found[part].keys()
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), name
    if "ema" in variant:  # the averaged weights are tested, with the thresholds made for them
        averaged = found["ema_state_dict"]["module.genunet.thresholds"]
        assert torch.equal(found["state_dict"]["genunet.thresholds"], averaged)
    assert not list(tmp_path.glob(".*.part"))


def test_the_alpha_under_test_has_both_phases_in_an_epoch():
    assert 0 < SWITCH < FRAMES
    assert ALPHA == 0.4


def test_resuming_a_finished_run_trains_nothing(uninterrupted):
    run = uninterrupted("plain")
    before = draws(run.folder / "work")
    output = run.finish(run.folder / "work", "--resume")
    assert training_lines(output) == []
    assert draws(run.folder / "work") == before
