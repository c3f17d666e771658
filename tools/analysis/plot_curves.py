"""Draw the learning curves of one or several runs, from the logs in their work dirs."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.learning_curves import draw_learning_curves
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Write one PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dirs", nargs="+", type=Path, help="e.g. work_dirs/minkocc_semi_a10")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    parser.add_argument(
        "--names", nargs="+", default=["loss", "loss_bce"], help="of logged values [loss loss_bce]"
    )
    parser.add_argument("--smooth", type=int, default=1, help="number of values to average [1]")
    add_debug(parser)
    options = parser.parse_intermixed_args()
    refuse_less(parser, options, smooth=1)
    draw_learning_curves(options.work_dirs, options.names, options.out, options.smooth)
    print(options.out)


if __name__ == "__main__":
    run_tool(main)
