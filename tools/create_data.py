"""Write the info files of a nuScenes root (official, mini, or synthetic) or of own logs, and more.

With --weak-occupancy also the weak occupancy of its training frames, which training would
otherwise compute in its first epoch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from minkocc.apis.prepare_weak_occupancy import prepare_weak_occupancy
from minkocc.config import load_config
from minkocc.config.classes import add_taxonomy, read_taxonomy
from minkocc.config.options import add_cfg_options
from minkocc.datasets.infos import create_infos
from minkocc.datasets.log_oddities import oddities
from minkocc.datasets.sensor_log import create_log_infos
from minkocc.files.infos import read_infos
from minkocc.runtime.tool import add_debug, refuse_less, run_tool

HEADLINE = Path(__file__).parents[1] / "configs" / "minkocc_semi_a10.py"


def main() -> None:
    """Create both info files and say what is in them; prepare what is asked for."""
    options = _parse()
    cfg = None
    if options.weak_occupancy:  # a mistake in the recipe should not cost the infos' time
        changes = {**(options.cfg_options or {}), "data_root": str(options.root)}
        cfg = load_config(options.weak_occupancy, changes)
    if not options.skip_infos:
        _create_infos(options)
    if cfg is not None:
        done = prepare_weak_occupancy(cfg, options.workers)
        print(
            f"weak occupancy: {done.frames} frames, {done.computed} computed now -> {done.folder}"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root, or a log's folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--version", help="e.g. v1.0-trainval")
    source.add_argument(
        "--log", nargs="+", type=Path, metavar="MANIFEST", help="sensor logs of any vehicle instead"
    )
    parser.add_argument(
        "--val-scenes", nargs="+", metavar="NAME", help="scenes that validate; all others train"
    )
    parser.add_argument(
        "--paths-leave-root",
        action="store_true",
        help="the tables may name files outside the root (training: paths_leave_root=True)",
    )
    parser.add_argument(
        "--weak-occupancy",
        nargs="?",
        const=HEADLINE,
        metavar="CONFIG",
        help="compute the weak occupancy that this recipe trains on (default: the headline's); "
        "what is there already stays",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of --weak-occupancy")
    parser.add_argument(
        "--skip-infos", action="store_true", help="the info files are there: only do the rest"
    )
    add_taxonomy(parser)
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, workers=1)
    if options.skip_infos and not options.weak_occupancy:
        parser.error("--skip-infos leaves nothing to do: add --weak-occupancy")
    if options.taxonomy and not options.log:
        parser.error("--taxonomy is for --log: a nuScenes root has Occ3D's classes")
    if options.cfg_options and not options.weak_occupancy:
        parser.error("--cfg-options are for --weak-occupancy: the info files need no recipe")
    return options


def _create_infos(options: argparse.Namespace) -> None:
    how = (options.val_scenes, options.paths_leave_root)
    missing: list[str] = []
    if options.log:
        written = create_log_infos(options.log, options.root, *how, read_taxonomy(options.taxonomy))
    else:
        written, missing = create_infos(options.root, options.version, *how)
    for split, path in written.items():
        frames = read_infos(path, options.paths_leave_root, None)["data_list"]
        scenes = len({frame["scene_name"] for frame in frames})
        labelled = sum(frame["occ_path"] is not None for frame in frames)
        if options.log:
            _warn_of_oddities(frames, options.root)
        print(f"{split}: {scenes} scenes, {len(frames)} frames, {labelled} with labels -> {path}")
    if missing:
        print(
            f"warning: {len(missing)} LiDAR sweeps that the tables name are not in {options.root} "
            f"and were left out ({missing[0]}, ...): input and weak occupancy are sparser without "
            "them; unpack sweeps/ and run this again"
        )


def _warn_of_oddities(frames: list[dict[str, Any]], root: Path) -> None:
    """Of the first frame of each log: what is wrong there is wrong in all."""
    for frame in {frame["scene_name"]: frame for frame in reversed(frames)}.values():
        for oddity in oddities(frame, root):
            print(f"warning: log {frame['scene_name']}: {oddity}", file=sys.stderr)


if __name__ == "__main__":
    run_tool(main)
