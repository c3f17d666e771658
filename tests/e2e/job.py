"""How the end-to-end tests call the tools, and what they expect of their output."""

import math
import re
import subprocess
import sys

import pytest

from tests.forked import ROOT, ToolProcess

CONFIG = ROOT / "configs" / "minkocc_semi_a10_mini.py"
DATA = ROOT.parent / "shared" / "data"
ALPHA, EPOCHS, FRAMES = 0.4, 2, 6
SWITCH = math.ceil(ALPHA * EPOCHS * FRAMES)


REAL = (
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent"),
)
"""Marks of what reads real files."""


def options(root, **more):
    values = {
        "data_root": root,
        "alpha": ALPHA,
        "max_epochs": EPOCHS,
        "batch_size": 1,
        "image_size": "[64,112]",
        "model.genunet.max_voxels": 4000,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.logger.interval": 1,
        "default_hooks.calibrate.frames": 2,
        **more,
    }
    return ["--cfg-options", *[f"{key}={value}" for key, value in values.items()]]


def tool(script, *arguments, **process):
    """Run a tool; ``process`` goes to ``ToolProcess``."""
    return ToolProcess(script, *arguments, **process).wait()


def printed_by(script, *arguments):
    """What a tool prints that ends well."""
    done = tool(script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def tool_from_shell(script, *arguments, env=None):
    """Run a tool as a user does, in an interpreter that has imported nothing."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "tools" / script), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def train(root, work_dir, *arguments, run=tool, **more):
    arguments = (CONFIG, "--work-dir", work_dir, *arguments, *options(root, **more))
    return run("train.py", *arguments)


LINE = re.compile(r"Epoch\(train\) +\[(\d+)\]\[(\d+)/(\d+)\] +phase: (\w+)  (.*)")


def training_lines(output):
    """(iteration from 0, phase, the losses' names) of every training line."""
    out = []
    for line in output.splitlines():
        if "Epoch(train)" in line:
            found = LINE.search(line)
            assert found, f"no phase in: {line}"
            epoch, place, length = (int(found[i]) for i in (1, 2, 3))
            names = set(re.findall(r"(loss_\w+):", found[5]))
            out.append(((epoch - 1) * length + place - 1, found[4], names))
    return out


def expect_error(done, *words):
    """One line that names the thing and the remedy, exit code 1, no traceback."""
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: "), last
    for word in words:
        assert word in last, last
