"""Draw the predictions of several networks side by side with the label."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.compare_predictions import draw_comparison, frames_to_draw
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.errors import UserError


def main() -> None:
    """Write one PNG; needs predictions (tools/test.py --dump) and labels, and no network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--infos", type=Path, required=True, metavar="PKL", help="in its data root")
    parser.add_argument(
        "--pred", nargs="+", required=True, metavar="NAME=DIR", help="folders of <token>.npz"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    parser.add_argument(
        "--frames", type=int, default=3, help="scenes, the middle frame of each [3]"
    )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, frames=1)
    preds = {}
    for pair in options.pred:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder) or name in preds:
            parser.error(f"--pred {pair}: expected NAME=DIR, each name once")
        if not Path(folder).is_dir():
            raise UserError(f"--pred {pair}: {folder} is not a folder")
        preds[name] = Path(folder)
    frames = frames_to_draw(options.infos, options.frames)
    draw_comparison(frames, options.infos.parent, preds, options.out)
    print(f"{len(frames)} frames of {len(preds)} networks: {options.out}")


if __name__ == "__main__":
    run_tool(main)
