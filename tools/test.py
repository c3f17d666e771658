"""Measure a checkpoint, or write its predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.cli import add_debug, add_recipe, load_recipe, run_tool
from minkocc.engine.launch import evaluate


def main() -> None:
    """Print the per-class table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_recipe(parser)
    parser.add_argument("checkpoint", nargs="?", help="without one, the untrained network")
    parser.add_argument("--out", type=Path, help="JSON file, default: <work dir>/test.json")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write DIR/<token>.npz (key pred)")
    add_debug(parser)
    options = parser.parse_intermixed_args()  # the checkpoint may follow options
    cfg = load_recipe(options)
    out = options.out or Path(cfg.work_dir) / "test.json"
    evaluate(cfg, options.checkpoint, out, options.dump)
    print(f"results: {out}")


if __name__ == "__main__":
    run_tool(main)
