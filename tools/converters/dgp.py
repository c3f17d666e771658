"""Write the manifest of a scene in the Dense Depth for Autonomous Driving (DGP) format."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.datasets.dgp import dgp_manifest
from minkocc.files.writing import write_json
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Write it, and say what comes next."""
    options = _parse()
    folder = options.out.resolve().parent
    vehicle = {"ground_z": options.ground_z}
    lidar = {"origin": options.lidar_origin, "intensity_max": options.intensity_max}
    content = dgp_manifest(options.scene.resolve(), folder, vehicle, lidar)
    write_json(options.out, content)
    print(f"{len(content['frames'])} frames -> {options.out}")
    print(f"next: tools/create_data.py --root {options.out.parent} --log {options.out}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, help="its scene_*.json")
    parser.add_argument("--out", type=Path, required=True, help="the manifest to write")
    parser.add_argument(
        "--ground-z", type=float, default=0.0, help="of the ground in the vehicle's frame, m [0]"
    )
    parser.add_argument(
        "--lidar-origin",
        type=float,
        nargs=3,
        default=[0.0, 0.0, 0.0],
        metavar=("X", "Y", "Z"),
        help="where the LiDAR stands in the frame of its points, m: rays of free space begin there",
    )
    parser.add_argument(
        "--intensity-max", type=float, default=1.0, help="of the LiDAR's intensity [1]"
    )
    add_debug(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_tool(main)
