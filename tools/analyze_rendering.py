"""Measure what the 2D labels of the weak phase reach: which voxels their pixels meet."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.analyze_rendering import rendered_pixels, rendered_pixels_table
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Print a table, and write its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Reads the dense labels of training frames, whatever the recipe's alpha says: it "
        "measures, and trains nothing.",
    )
    parser.add_argument("config")
    parser.add_argument("checkpoint", help="of a network of that recipe")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="spread evenly [16]")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()  # the checkpoint may follow options
    refuse_less(parser, options, frames=1)
    cfg = load_config(options.config, options.cfg_options)
    figures = rendered_pixels(cfg, options.checkpoint, options.frames)
    print(rendered_pixels_table(figures))
    write_json(options.out, {**provenance(), "checkpoint": options.checkpoint, **figures})
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    run_tool(main)
