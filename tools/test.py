"""Measure a checkpoint, or write its predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from minkocc.cli import add_debug, run_tool
from minkocc.config import load_config
from minkocc.engine.launch import evaluate


def main() -> None:
    """Print the per-class table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the recipe that the checkpoint was trained with")
    parser.add_argument("checkpoint", nargs="?", help="without one, the untrained network")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    parser.add_argument("--out", type=Path, help="JSON file, default: <work dir>/test.json")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write DIR/<token>.npz (key pred)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    parser.add_argument("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"])
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_debug(parser)
    options = parser.parse_args()
    cfg = load_config(options.config, options.cfg_options)
    cfg.work_dir = str(options.work_dir or Path("work_dirs") / Path(options.config).stem)
    cfg.launcher = options.launcher
    out = options.out or Path(cfg.work_dir) / "test.json"
    evaluate(cfg, options.checkpoint, out, options.dump)
    print(f"results: {out}")


if __name__ == "__main__":
    run_tool(main)
