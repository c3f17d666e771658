"""Make Occ3D-style labels of a nuScenes root or of own logs from LiDAR, lidarseg and boxes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from minkocc.apis.compare_labels import compare_labels
from minkocc.apis.create_occupancy import NUSCENES, LabelSource, create_occupancy
from minkocc.config.classes import add_taxonomy, read_taxonomy
from minkocc.evaluation.label_agreement import agreement_table
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Write the labels that are missing; hold them against the root's own where asked to."""
    options = _parse()
    settings = replace(
        NUSCENES,
        gap=options.gap,
        complete_vehicles=not options.vehicles_as_seen,
        rays_per_crossing=options.rays_per_crossing,
    )
    if options.ego_box:
        low, high = options.ego_box[:3], options.ego_box[3:]
        settings = replace(settings, ego_box=(tuple(low), tuple(high)))
    settings = replace(settings, taxonomy=read_taxonomy(options.taxonomy))
    logs = tuple(options.log or ())
    own_boxes = bool(logs) and not options.ego_box
    source = LabelSource(
        options.root, options.version, not options.boxes_only, settings, logs, own_boxes
    )
    done = create_occupancy(source, options.out, options.scenes, options.workers, options.overwrite)
    print(f"labels: {done.keyframes} keyframes, {done.created} made now -> {options.out}")
    if options.compare:
        figures = compare_labels(options.out, options.root / "gts", options.workers)
        report = {
            **provenance(),
            "root": str(options.root),
            "version": options.version,
            "labels": str(options.out),
            "made": source.recipe(),
            "seconds_a_scene": [round(taken, 1) for taken in done.seconds],
            **figures,
        }
        write_json(options.compare, report)
        print(f"\n{agreement_table(figures)}\n\nwritten: {options.compare}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root, or a log's folder")
    made_of = parser.add_mutually_exclusive_group(required=True)
    made_of.add_argument("--version", help="e.g. v1.0-trainval")
    made_of.add_argument(
        "--log", nargs="+", type=Path, metavar="MANIFEST", help="sensor logs of any vehicle instead"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="ROOT/gts is where training looks"
    )
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="only these; default: all")
    parser.add_argument("--workers", type=int, default=1, help="processes, a scene each")
    parser.add_argument("--overwrite", action="store_true", help="replace labels that are there")
    parser.add_argument(
        "--compare", type=Path, metavar="JSON", help="measure them against ROOT/gts, write figures"
    )
    parser.add_argument(
        "--boxes-only",
        action="store_true",
        help="read no lidarseg: what has no box is 'others', or the taxonomy's rest",
    )
    add_taxonomy(parser)
    parser.add_argument(
        "--gap",
        type=int,
        default=NUSCENES.gap,
        metavar="VOXELS",
        help="widest gap in a surface that is closed (default: %(default)s)",
    )
    parser.add_argument(
        "--vehicles-as-seen", action="store_true", help="do not complete the bodies of vehicles"
    )
    parser.add_argument(
        "--rays-per-crossing",
        type=int,
        default=NUSCENES.rays_per_crossing,
        metavar="N",
        help="one crossing by N rays of the scene shows a voxel to be free (default: %(default)s)",
    )
    parser.add_argument(
        "--ego-box",
        type=float,
        nargs=6,
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"),
        help="corners of the recording vehicle, ego frame, metres (default: nuScenes', or that of "
        "each log's manifest)",
    )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, workers=1, gap=0, rays_per_crossing=1)
    if options.taxonomy and not options.log:
        parser.error("--taxonomy is for --log: a nuScenes root has Occ3D's classes")
    if options.taxonomy and options.compare:
        parser.error("--compare is of Occ3D's classes: leave --taxonomy out")
    return options


if __name__ == "__main__":
    run_tool(main)
