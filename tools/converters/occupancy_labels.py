"""Bring occupancy labels of another benchmark to Occ3D's grid, into the gts/ of a root.

Labels are called after the LiDAR file of their keyframe, as SurroundOcc's are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from minkocc.datasets.foreign_labels import FORMATS, read_rows, surroundocc_path, to_occ3d
from minkocc.files.infos import read_infos
from minkocc.files.npz import npz_bytes
from minkocc.files.writing import atomic_write
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.structures.errors import UserError


def main() -> None:
    """Convert what is there; name how many frames have no label."""
    options = _parse()
    frames = [frame for path in options.infos for frame in read_infos(path, True)["data_list"]]
    form = FORMATS[options.format]
    missing = 0
    for frame in tqdm(frames, desc="labels", unit="frame"):
        source = surroundocc_path(options.labels, frame)
        target = options.root / "gts" / frame["scene_name"] / frame["token"] / "labels.npz"
        if not source.exists():
            missing += 1
            continue
        if target.exists() and not options.overwrite:
            raise UserError(f"{target} exists: take another --root, or allow it with --overwrite")
        arrays = to_occ3d(read_rows(source, form), form, frame["lidar_points"]["lidar2ego"])
        with atomic_write(target) as sink:
            sink.write(npz_bytes(**arrays))
    if missing == len(frames):
        raise UserError(
            f"{options.labels} holds no label for any of {len(frames)} frames, expected files as "
            f"{surroundocc_path(options.labels, frames[0])}"
            if frames
            else "no frame in the infos"
        )
    print(f"{len(frames) - missing} labels written, {missing} frames have none")
    print("next: tools/create_data.py again, which finds them")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="whose gts/ is written")
    parser.add_argument("--infos", type=Path, nargs="+", required=True, metavar="PKL")
    parser.add_argument("--labels", type=Path, required=True, help="folder of the .npy files")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace labels that are there")
    add_debug(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_tool(main)
