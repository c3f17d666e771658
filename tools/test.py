"""Measure a checkpoint, or write its predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.test import measure_checkpoint
from minkocc.config.options import add_recipe, load_recipe
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Print the tables of the recipe's protocols and write them as JSON, Markdown and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_recipe(parser)
    parser.add_argument("checkpoint", nargs="?", help="without one, the untrained network")
    parser.add_argument(
        "--out", type=Path, help="JSON file, .md and .png beside it; default: <work dir>/test.json"
    )
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write DIR/<token>.npz (key pred)")
    parser.add_argument(
        "--render", action="store_true", help="2D mIoU of the rendered semantics too"
    )
    parser.add_argument(
        "--sweep-threshold",
        action="store_true",
        help="draw recall, precision and IoU of each decoder level by its threshold: a diagnosis "
        "that changes no threshold (they are calibrated on training frames, never on test frames)",
    )
    add_debug(parser)
    options = parser.parse_intermixed_args()  # the checkpoint may follow options
    cfg = load_recipe(options)
    out = options.out or Path(cfg.work_dir) / "test.json"
    measure_checkpoint(
        cfg, options.checkpoint, out, options.dump, options.render, options.sweep_threshold
    )
    print(f"results: {out}")


if __name__ == "__main__":
    run_tool(main)
