"""View frames in a browser: voxels, LiDAR, cameras, errors; needs no display on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.view.tool import ViewOptions, export, serve
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Serve the page until Ctrl-C, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("checkpoint", nargs="?", help="predicts each frame when it is first shown")
    parser.add_argument(
        "--infos",
        type=Path,
        metavar="PKL",
        help="in its data root [the test set's]",
    )
    parser.add_argument(
        "--pred",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of <token>.npz (tools/test.py --dump); a second one is compared",
    )
    parser.add_argument(
        "--log", type=Path, nargs="+", default=[], metavar="MANIFEST", help="whose boxes are drawn"
    )
    parser.add_argument("--frame", type=int, default=0, help="shown first, counted from 0 [0]")
    parser.add_argument("--layer", metavar="NAME", help="voxels, e.g. label or errors")
    parser.add_argument("--beside", default="nothing", metavar="NAME", help="shown beside them")
    parser.add_argument("--points", action="store_true", help="show the LiDAR from the beginning")
    parser.add_argument("--boxes", action="store_true", help="and the annotated boxes")
    parser.add_argument("--port", type=int, default=8080, help="of the page [8080]")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 lets other machines in [127.0.0.1]"
    )
    parser.add_argument(
        "--export", type=Path, metavar="HTML", help="write a page to mail, and serve nothing"
    )
    parser.add_argument(
        "--max-frames", type=int, default=1, help="in the exported page, from --frame on [1]"
    )
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()  # the checkpoint may follow options
    refuse_less(parser, options, frame=0, port=1, max_frames=1)
    cfg = load_config(options.config, options.cfg_options)
    chosen = ViewOptions(
        options.checkpoint,
        options.infos,
        options.pred,
        options.log,
        options.frame,
        options.layer,
        options.beside,
        options.points,
        options.boxes,
    )
    if options.export:
        count = export(cfg, chosen, options.export, options.max_frames)
        print(f"{count} frames in {options.export}")
    else:
        serve(cfg, chosen, options.host, options.port)


if __name__ == "__main__":
    run_tool(main)
