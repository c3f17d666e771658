"""Draw training frames as the network gets them: augmented, with the targets of a phase."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.browse_dataset import browse_dataset
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.phase import Phase


def main() -> None:
    """Write one PNG a frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10_mini.py")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--max-frames", type=int, default=6, help="evenly spaced [6]")
    names = [phase.value for phase in Phase]
    parser.add_argument("--phase", choices=names, default=names[0], help=f"[{names[0]}]")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, max_frames=1)
    cfg = load_config(options.config, options.cfg_options)
    written = browse_dataset(cfg, options.out, options.max_frames, Phase(options.phase))
    if not written:
        parser.error(f"--phase {options.phase}: no frame has a dense label under this recipe")
    print(f"{len(written)} pictures in {options.out}")


if __name__ == "__main__":
    run_tool(main)
