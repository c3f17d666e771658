"""Write the manifest of a scene in the Dense Depth for Autonomous Driving (DGP) format."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from minkocc.datasets.dgp import dgp_manifest
from minkocc.files.reading import read_json
from minkocc.files.writing import write_json
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.structures.errors import UserError


def main() -> None:
    """Write it, and say what comes next."""
    options = _parse()
    folder, scene = options.out.resolve().parent, _scene(options.scene)
    vehicle = {"ground_z": options.ground_z}
    lidar = {"origin": options.lidar_origin, "intensity_max": options.intensity_max}
    content = dgp_manifest(scene.resolve(), folder, vehicle, lidar)
    if options.class_map:
        _rename(content, options.class_map)
    write_json(options.out, content)
    print(f"{len(content['frames'])} frames -> {options.out}")
    root = os.path.relpath(os.path.commonpath([folder, scene.resolve().parent]))
    print(f"next: tools/create_data.py --root {root} --log {options.out}")


def _scene(path: Path) -> Path:
    """The scene's file, where its folder is named too."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("scene_*.json"))
    if len(found) != 1:
        raise UserError(f"{path} holds {len(found)} files scene_*.json, expected one: name it")
    return found[0]


def _rename(content: dict[str, Any], path: Path) -> None:
    """Give the boxes of a manifest other classes than Occ3D's."""
    try:
        classes = dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        expected = 'expected {"car": "vehicle", ...}'
        raise UserError(f"--class-map {path} cannot be read ({error}): {expected}") from error
    for frame in content["frames"]:
        for box in frame.get("boxes", []):
            if box["class"] not in classes:
                raise UserError(f"--class-map {path} does not name {box['class']!r}")
            box["class"] = classes[box["class"]]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="its scene_*.json, or the folder of one")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the manifest to write, in the scene's folder or above it",
    )
    parser.add_argument(
        "--ground-z", type=float, default=0.0, help="of the ground in the vehicle's frame, m [0]"
    )
    parser.add_argument(
        "--lidar-origin",
        type=float,
        nargs=3,
        default=[0.0, 0.0, 0.0],
        metavar=("X", "Y", "Z"),
        help="where the LiDAR stands in the frame of its points, m: rays of free space begin "
        "there. DGP's points are in the vehicle's frame: what its data sheet says [0 0 0]",
    )
    parser.add_argument(
        "--class-map", type=Path, metavar="JSON", help="from Occ3D's classes to a taxonomy's own"
    )
    parser.add_argument(
        "--intensity-max", type=float, default=1.0, help="of the LiDAR's intensity [1]"
    )
    add_debug(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_tool(main)
