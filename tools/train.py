"""Train a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from minkocc.cli import add_debug, run_tool
from minkocc.config import load_config
from minkocc.engine.launch import build_runner


def main() -> None:
    """Build the runner of a recipe and train it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10.py")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="go on from the work dir's last checkpoint, or from the one named",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision for the image branch")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    parser.add_argument("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"])
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    add_debug(parser)
    options = parser.parse_args()
    cfg = load_config(options.config, options.cfg_options)
    cfg.work_dir = str(options.work_dir or Path("work_dirs") / Path(options.config).stem)
    cfg.launcher = options.launcher
    if options.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
    if options.resume:
        cfg.resume = True
        cfg.load_from = None if options.resume == "auto" else options.resume
    build_runner(cfg).train()


if __name__ == "__main__":
    run_tool(main)
