"""The main job on two gloo processes, across the switch, as the launch scripts start it."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from minkocc.files.infos import read_infos
from tests.e2e.job import CONFIG, ROOT, options, tool, training_lines
from tests.e2e.record_draws import draws

RANKS = (0, 1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(script, *arguments, **environment):
    return subprocess.run(
        list(map(str, [ROOT / "tools" / script, *arguments])),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "MASTER_PORT": str(free_port()),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def two(synthetic_root, tmp_path_factory):
    """A finished run with synchronised batch norm: (work dir, what it printed).

    It leaves a checkpoint at every iteration, amid the epochs too.
    """
    work_dir = tmp_path_factory.mktemp("two")
    return work_dir, train_two(synthetic_root, work_dir)


def train_two(root, work_dir, *arguments):
    config = work_dir / "recorded.py"
    config.write_text(
        f"_base_ = [{str(CONFIG)!r}]\n"
        "custom_imports = dict(imports=['tests.e2e.record_draws'])\n"
        "custom_hooks = [dict(type='RecordDraws'), dict(type='EMAHook', momentum=0.1)]\n"
        "model = dict(sync_bn=True)\n"
        "default_hooks = dict(checkpoint=dict(by_epoch=False, max_keep_ckpts=-1))\n"
        "val_evaluator = dict(protocols=['occ3d', 'rayiou'])\n"
    )
    more = options(root, num_workers=0)
    done = launch("dist_train.sh", config, 2, "--work-dir", work_dir, *arguments, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_both_ranks_share_the_phases(two):
    work_dir, output = two
    # Six frames on two ranks: three iterations an epoch, switch at ceil(0.4 * 6).
    phases = ["warm"] * 3 + ["weak"] * 3
    assert [phase for _, phase, _ in training_lines(output)] == phases
    for rank in RANKS:
        assert [phase for _, phase, _ in draws(work_dir, rank)] == phases


def test_every_frame_is_drawn_exactly_once_a_pass(two, synthetic_root):
    work_dir, _ = two
    train = read_infos(synthetic_root / "minkocc_infos_train.pkl")["data_list"]
    audit = json.loads((work_dir / "label_audit.json").read_text())
    labelled = {frame["token"] for frame in train if frame["scene_name"] in audit["scenes"]}
    drawn = {"warm": [], "weak": []}
    for lines in zip(*(draws(work_dir, rank) for rank in RANKS)):
        assert len({iteration for iteration, _, _ in lines}) == 1
        for _, phase, tokens in lines:
            drawn[phase] += tokens
    # Six warm draws are a pass over the four labelled frames and half of the next one.
    assert set(drawn["warm"][:4]) == labelled
    assert len(set(drawn["warm"][4:])) == 2
    assert set(drawn["warm"]) == labelled
    assert sorted(drawn["weak"]) == sorted(frame["token"] for frame in train)


def test_both_ranks_end_with_equal_weights(two):
    work_dir, _ = two
    first, second = (json.loads((work_dir / f"weights_{rank}.json").read_text()) for rank in RANKS)
    assert len(first) > 100
    assert first == second


def test_a_resumed_run_on_two_ranks_is_the_uninterrupted_one(two, synthetic_root, tmp_path):
    work_dir, _ = two
    train_two(synthetic_root, tmp_path, "--resume", work_dir / "iter_2.pth")
    for rank in RANKS:
        assert draws(tmp_path, rank) == draws(work_dir, rank)[2:]
        name = f"weights_{rank}.json"
        assert json.loads((tmp_path / name).read_text()) == json.loads(
            (work_dir / name).read_text()
        )


def test_reads_of_both_ranks_are_in_one_audit(two, synthetic_root):
    work_dir, _ = two
    assert {log.name.split("-")[0] for log in (work_dir / "label_audit").iterdir()} == {"0", "1"}
    audit = json.loads((work_dir / "label_audit.json").read_text())
    train = read_infos(synthetic_root / "minkocc_infos_train.pkl")["data_list"]
    budgeted = {frame["token"] for frame in train if frame["scene_name"] in audit["scenes"]}
    assert set(audit["read"]) == budgeted
    assert audit["read_outside_budget"] == []


def test_metrics_are_gathered_over_the_frames_of_both_ranks(two, synthetic_root, tmp_path):
    """The figures after training are those of one process on the run's last checkpoint."""
    work_dir, output = two
    val = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    assert f"protocol occ3d, {len(val)} frames" in output
    more = ["--work-dir", tmp_path, *options(synthetic_root)]
    done = tool("test.py", CONFIG, work_dir / "iter_6.pth", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "test.json").read_text())
    (line,) = re.findall(r"Epoch\(val\).*occ3d/miou.*", output)
    found = {name: float(value) for name, value in re.findall(r"(\w+/[\w@]+): ([\d.]+)", line)}
    for name in ("occ3d/miou", "occ3d/geometric_iou", "rayiou/rayiou", "rayiou/rayiou@1"):
        protocol, figure = name.split("/")
        assert found[name] == figures[protocol][figure]  # four decimals in both


SRUN = """#!/usr/bin/env bash
# Stands for Slurm on one machine: drops srun's own options and runs the command.
echo "srun $*" >&2
while [[ $1 == -* ]]; do [[ $1 == -p ]] && shift; shift; done
SLURM_NNODES=1 SLURM_JOB_ID=7 SLURM_JOB_NODELIST=localhost exec "$@"
"""


def test_slurm_script_reaches_train_through_torchrun(tmp_path):
    """There is no Slurm here; what srun is asked for is looked at, and its command is run."""
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho 127.0.0.1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = launch(
        "slurm_train.sh", "gpu", "job", CONFIG, 2, "--work-dir", tmp_path / "work",
        "--cfg-options", "alhpa=1",
        PATH=f"{tmp_path}:{os.environ['PATH']}", GPUS_PER_NODE="2",
    )  # fmt: skip
    asked = next(line for line in done.stderr.splitlines() if line.startswith("srun "))
    for word in ("-p gpu", "--nodes=1", "--ntasks-per-node=1", "--gres=gpu:2"):
        assert word in asked
    assert done.returncode != 0
    # Of each rank that came as far before torchrun, which the first one's end tells, ended it.
    errors = {line for line in done.stderr.splitlines() if line.startswith("error: ")}
    assert errors == {"error: unknown top-level key 'alhpa' in the config: did you mean 'alpha'?"}


@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh"])
def test_scripts_say_how_they_are_called(script):
    done = launch(script)
    assert done.returncode == 2
    assert f"tools/{script}" in done.stderr
    assert "CONFIG GPUS" in done.stderr


def test_slurm_script_refuses_gpus_that_do_not_fill_machines():
    done = launch("slurm_train.sh", "gpu", "job", CONFIG, 12, GPUS_PER_NODE="8")
    assert done.returncode == 1
    assert "GPUS 12 is not a multiple of GPUS_PER_NODE 8" in done.stderr
