"""Write the manifest of a sequence in the layout of KITTI odometry, or SemanticKITTI."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.datasets.kitti import kitti_manifest
from minkocc.files.writing import write_json
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Write it, and say what comes next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequence", type=Path, help="e.g. dataset/sequences/00")
    parser.add_argument("--out", type=Path, required=True, help="the manifest to write")
    add_debug(parser)
    options = parser.parse_args()
    content = kitti_manifest(options.sequence.resolve(), options.out.resolve().parent)
    write_json(options.out, content)
    print(f"{len(content['frames'])} frames -> {options.out}")
    print(f"next: tools/create_data.py --root {options.out.parent} --log {options.out}")


if __name__ == "__main__":
    run_tool(main)
