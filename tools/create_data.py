"""Write the info files of a nuScenes root (official, mini, own, or synthetic)."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.cli import add_debug, run_tool
from minkocc.datasets.infos import create_infos
from minkocc.info_file import read_infos


def main() -> None:
    """Create both info files and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root")
    parser.add_argument("--version", required=True, help="e.g. v1.0-trainval")
    parser.add_argument(
        "--val-scenes", nargs="+", metavar="NAME", help="scenes that validate; all others train"
    )
    add_debug(parser)
    options = parser.parse_args()
    written = create_infos(options.root, options.version, options.val_scenes)
    for split, path in written.items():
        frames = read_infos(path)["data_list"]
        scenes = len({frame["scene_name"] for frame in frames})
        labelled = sum(frame["occ_path"] is not None for frame in frames)
        print(f"{split}: {scenes} scenes, {len(frames)} frames, {labelled} with labels -> {path}")


if __name__ == "__main__":
    run_tool(main)
