"""SIGKILL at random moments: no damaged file is left, and the same command ends as if never killed.

Of each tool ten moments, spread over the time that it takes undisturbed; and, because between two
steps of writing hardly any time goes by, three of the moments just before it changes a folder.
"""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import signal
import time
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minkocc.datasets.infos import create_infos
from minkocc.files.checkpoints import read_checkpoint
from minkocc.files.infos import read_infos
from minkocc.runtime.provenance import provenance
from tests.e2e.cut_at_write import cut_at_write
from tests.e2e.job import CONFIG, options, tool
from tests.forked import ToolProcess

pytestmark = [pytest.mark.slow, pytest.mark.processes]

TRIALS, CUTS = 10, 3
TOOLS = ("create_data", "create_synthetic", "train", "test", "evaluate")
CHECKPOINT = "epoch_2.pth"
BEST = [f"default_hooks.checkpoint.{x}" for x in ("save_best=occ3d/geometric_iou", "rule=greater")]


@dataclass(frozen=True)
class Job:
    """A tool that writes into a folder.

    Args:
        script: the tool.
        arguments: of its command line, of the folder.
        prepare: what must be in the folder before.
        outcome: what is the same after every run that ended, of the folder.
        again: arguments that the command takes more when it is given again.
    """

    script: str
    arguments: callable
    outcome: callable
    prepare: callable = lambda folder: folder.mkdir()
    again: tuple = ()

    def start(self, folder, *more, **process):
        return ToolProcess(self.script, *self.arguments(folder), *more, **process)


@dataclass(frozen=True)
class Undisturbed:
    """A job that nobody stopped."""

    folder: Path
    seconds: float
    changes: int
    """How often it opened, moved or removed a file of the folder."""
    outcome: dict


@pytest.fixture(scope="module")
def world(made_once, tiny_root):
    """The tiny data set with infos, by links."""

    def make(root):
        link(tiny_root, root)
        create_infos(root, "v1.0-synthetic")

    return made_once("power_cut_world", make)


def link(source, root):
    """The files of a folder, by links, in another."""
    for path in sorted(source.rglob("*")):
        copy = root / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True)
        else:
            copy.symlink_to(path)


@pytest.fixture(scope="module")
def jobs(tiny, tiny_root, world, undisturbed):
    """What is killed, by tool."""
    size = "{}x{}".format(*tiny.image_size)
    synthetic = ["--train-scenes", tiny.train_scenes, "--val-scenes", tiny.val_scenes]
    synthetic += ["--keyframes", tiny.keyframes, "--seed", tiny.seed, "--clean-pseudo-labels"]
    synthetic += ["--image-size", size]
    recipe = options(world)
    return {
        "create_data": Job(
            "create_data.py",
            lambda folder: [
                "--root", folder, "--version", "v1.0-synthetic", "--weak-occupancy", CONFIG,
            ],
            whole_files,
            prepare=partial(link, tiny_root),
        ),
        "create_synthetic": Job(
            "create_synthetic.py", lambda folder: ["--out", folder, *synthetic], whole_files
        ),
        "train": Job(
            "train.py",
            lambda folder: [CONFIG, "--work-dir", folder, *recipe, *BEST],
            trained,
            again=("--resume", "auto"),
        ),
        "test": Job(
            "test.py",
            lambda folder: [
                CONFIG, undisturbed("train").folder / CHECKPOINT, "--work-dir", folder,
                "--dump", folder / "dump", *recipe,
            ],
            figures,
        ),
        "evaluate": Job(
            "evaluate.py",
            lambda folder: [
                "--pred", undisturbed("test").folder / "dump", "--gt", world / "gts",
                "--infos", world / "minkocc_infos_val.pkl", "--out", folder / "figures.json",
                "--protocol", "occ3d", "rayiou", "raypq", "paper-repo",
            ],
            figures,
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(request, tmp_path_factory):
    """``undisturbed(name)``: the job of that tool that runs to its end, when first asked for."""
    known = {}
    tool("evaluate.py", "--help")  # the first of all processes waits for imports

    def get(name):
        if name not in known:
            job = request.getfixturevalue("jobs")[name]
            folder = tmp_path_factory.mktemp(f"undisturbed_{name}") / "out"
            job.prepare(folder)
            job.arguments(folder)  # which may need another job first
            begun, count = time.monotonic(), folder.with_name("changes")
            done = job.start(folder, prepare=partial(cut_at_write, folder, None, count)).wait()
            seconds = time.monotonic() - begun
            assert done.returncode == 0, done.stderr[-3000:]
            known[name] = Undisturbed(folder, seconds, count.stat().st_size, job.outcome(folder))
        return known[name]

    return get


@pytest.fixture(scope="module")
def kills(request):
    """When each tool was killed, and what was in its folder then; told at the end."""
    told = defaultdict(list)
    yield told
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nSIGKILL at {sum(map(len, told.values()))} moments:")
        for name, lines in told.items():
            print(f"  {name}: {len(lines)}", *lines, sep="\n    ")


@pytest.mark.parametrize("number", range(TRIALS))
@pytest.mark.parametrize("name", TOOLS)
def test_killed_and_started_again(name, number, jobs, undisturbed, kills, tmp_path):
    whole, folder = undisturbed(name), tmp_path / "out"
    share = (number + random.Random(f"{name} {number}").random()) / TRIALS
    seconds, of = killed(jobs[name], folder, share, whole.seconds)
    kills[name].append(f"after {seconds:.2f} of {of:.2f} s, {what_is_there(folder)}")
    expect_same_end(jobs[name], folder, whole)


@pytest.mark.parametrize("number", range(CUTS))
@pytest.mark.parametrize("name", TOOLS)
def test_killed_between_two_steps(name, number, jobs, undisturbed, kills, tmp_path):
    whole, folder = undisturbed(name), tmp_path / "out"
    share = (number + random.Random(f"{name} step {number}").random()) / CUTS
    step = int(share * whole.changes)
    jobs[name].prepare(folder)
    cut = partial(cut_at_write, folder, step, tmp_path / "changes")
    process = jobs[name].start(folder, prepare=cut)
    process.wait()
    assert process.poll() == -signal.SIGKILL
    kills[name].append(f"before change {step} of {whole.changes}, {what_is_there(folder)}")
    expect_same_end(jobs[name], folder, whole)


def what_is_there(folder):
    left = [path.name for path in files(folder) if is_half_written(path)]
    return f"{len(files(folder))} files, half written: {', '.join(left) or 'none'}"


def expect_same_end(job, folder, whole):
    """What is there is whole, and the same command makes of it what it had made without the cut."""
    expect_readable(folder)
    done = job.start(folder, *job.again).wait()
    assert done.returncode == 0, done.stderr[-3000:]
    expect_readable(folder)
    assert job.outcome(folder) == whole.outcome


def killed(job, folder, share, whole):
    """Kill the job after a share of the seconds that it takes; returns when that was, and of what.

    Where it ends before the moment, it is quicker now, and is killed the next time.
    """
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        job.prepare(folder)
        begun = time.monotonic()
        process = job.start(folder)
        process.wait_for(partial(leads_its_group, process))
        while time.monotonic() < begun + share * whole and process.poll() is None:
            time.sleep(0.001)
        moment = time.monotonic() - begun
        process.kill()
        if process.poll() == -signal.SIGKILL:
            return moment, whole
        whole = moment


def leads_its_group(process):
    """Before it does, nothing of it is killed."""
    return os.getpgid(process.pid) == process.pid


def files(folder):
    """Of a folder, those that are no links to what was there before."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def is_half_written(path):
    return path.name.startswith(".") and path.suffix == ".part"


READERS = {
    ".npz": lambda path: [array.shape for array in np.load(path).values()],
    ".pkl": read_infos,
    ".pth": read_checkpoint,
    ".png": lambda path: Image.open(path).load(),
    ".jpg": lambda path: Image.open(path).load(),
    ".py": lambda path: ast.parse(not_empty(path)).body[0],
    ".bin": lambda path: not_empty(path),
    ".md": lambda path: not_empty(path),
    ".json": lambda path: [json.loads(text) for text in json_texts(path)],
}


def not_empty(path):
    content = path.read_bytes()
    assert content, path
    return content


def json_texts(path):
    """mmengine's own logs hold a text a line."""
    text = path.read_text()
    return text.splitlines() if "vis_data" in path.parts else [text]


def expect_readable(folder):
    """Every file under its final name can be read; logs are nothing but text."""
    for path in files(folder):
        if is_half_written(path):
            continue
        if path.suffix in READERS:
            try:
                READERS[path.suffix](path)
            except (OSError, ValueError, IndexError, SyntaxError, zipfile.BadZipFile) as error:
                raise AssertionError(f"{path} cannot be read: {error!r}") from error
        elif path.name == "last_checkpoint":
            assert Path(path.read_text()).is_file()
        elif path.name == "last_validation":
            assert path.read_text() in ("epoch_1", "epoch_2")
        else:
            assert path.suffix in (".log", ".txt") or path.name == ".training.lock", path


def whole_files(folder):
    """Every byte."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files(folder)
        if not is_half_written(path)
    }
    assert found
    return found


def trained(folder):
    """Weights, the best too, the optimiser's state, what was read of the truth, and validations."""
    assert Path((folder / "last_checkpoint").read_text()) == folder / CHECKPOINT
    content = read_checkpoint(folder / CHECKPOINT)
    (best,) = folder.glob("best_*.pth")
    parts = {
        "weights": content["state_dict"],
        "optimiser": content["optimizer"],
        best.name: read_checkpoint(best)["state_dict"],
    }
    return {
        "files": sorted(path.name for path in folder.glob("*.pth")),
        "audit": json.loads((folder / "label_audit.json").read_text()),
        "validation": validation(folder),
        **{part: [(name, *as_bytes(x)) for name, x in flat(node)] for part, node in parts.items()},
    }


def flat(node, place=""):
    if isinstance(node, (dict, list, tuple)):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            yield from flat(value, f"{place}.{key}")
    else:
        yield place, node


def as_bytes(value):
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape, value.numpy().tobytes())
    return (value,)


def validation(folder):
    """Figures of the validations by epoch, from all logs of the run."""
    found = {}
    for log in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in map(json.loads, log.read_text().splitlines()):
            if "occ3d/miou" in line:
                del line["time"], line["data_time"]
                found[line["step"]] = line
    return found


def figures(folder):
    """Predictions, figures and pictures, without where and when they were made."""
    found = whole_files(folder)
    out = {name: content for name, content in found.items() if not name[0].isdigit()}  # logs
    for name in [name for name in out if name.endswith(".json")]:
        content = json.loads(out[name])
        out[name] = {key: value for key, value in content.items() if key not in provenance()}
    for name in [name for name in out if name.endswith(".md")]:
        lines = out[name].decode().splitlines()
        out[name] = [line for line in lines if not line.startswith("- command: ")]
    return out
