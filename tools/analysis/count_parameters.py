"""Count a network's parameters, and the multiply-adds of a predicted frame, by module."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.complexity import complexity_table, measure_complexity
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Print a table; with ``--out`` write JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10_mini.py")
    parser.add_argument("checkpoint", nargs="?", help="without one, pruning keeps nearly all")
    parser.add_argument("--out", type=Path, metavar="JSON")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()
    cfg = load_config(options.config, options.cfg_options)
    figures = measure_complexity(cfg, options.checkpoint)
    if options.out:
        write_json(options.out, {**figures, "config": options.config, **provenance()})
    print(complexity_table(figures))


if __name__ == "__main__":
    run_tool(main)
