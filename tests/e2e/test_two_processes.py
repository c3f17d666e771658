"""The main job on two gloo processes, across the switch."""

import json
import socket
import subprocess
import sys

from minkocc.datasets.info_file import read_infos
from tests.e2e.job import CONFIG, ROOT, options, training_lines


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_share_phases_budget_and_metrics(synthetic_root, tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run"]
    command += ["--nproc_per_node", "2", "--master_port", str(free_port())]
    command += [ROOT / "tools" / "train.py", CONFIG, "--launcher", "pytorch"]
    command += ["--work-dir", tmp_path, *options(synthetic_root, num_workers=0)]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    output = done.stdout + done.stderr

    # Six frames on two ranks: three iterations an epoch, switch at ceil(0.4 * 6).
    assert [phase for _, phase, _ in training_lines(output)] == ["warm"] * 3 + ["weak"] * 3

    # Each rank read its own share of the one budget, and the reads of both are in one report.
    assert {log.name.split("-")[0] for log in (tmp_path / "label_audit").iterdir()} == {"0", "1"}
    audit = json.loads((tmp_path / "label_audit.json").read_text())
    train = read_infos(synthetic_root / "minkocc_infos_train.pkl")["data_list"]
    budgeted = {frame["token"] for frame in train if frame["scene_name"] in audit["scenes"]}
    assert set(audit["read"]) == budgeted
    assert audit["read_outside_budget"] == []

    # Validation is measured over all frames of both ranks, each once.
    val = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
    assert f"protocol occ3d, {len(val)} frames" in output
