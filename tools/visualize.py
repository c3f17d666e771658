"""Draw frames: cameras with LiDAR, voxels and errors from two sides, rendered 2D semantics."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.visualize import draw_frames
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Write one PNG a frame; needs neither a display nor ground truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("checkpoint", nargs="?", help="without one, inputs and targets only")
    parser.add_argument("--infos", type=Path, required=True, metavar="PKL")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--max-frames", type=int, help="default: all")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()  # the checkpoint may follow options
    refuse_less(parser, options, max_frames=1)
    cfg = load_config(options.config, options.cfg_options)
    written = draw_frames(cfg, options.checkpoint, options.infos, options.out, options.max_frames)
    print(f"{len(written)} pictures in {options.out}")


if __name__ == "__main__":
    run_tool(main)
