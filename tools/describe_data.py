"""Look at a nuScenes root before training on it: figures, the colour probe, a contact sheet."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.data_report.root import References, Root, reference_statistics
from minkocc.data_report.tables import data_tables
from minkocc.files.writing import atomic_write, write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool


def main() -> None:
    """Print tables, and write ``statistics.json`` and ``contact_sheet.png``."""
    options = _parse()
    root = Root(options.root, options.version)
    references = reference_statistics(
        References(options.reference_gts, options.reference_sweep, options.reference_cloud)
    )
    statistics = root.statistics(options.max_frames, options.seed, options.workers)
    print(data_tables(statistics, references))
    written = [options.out / "statistics.json"]
    context = {"root": str(options.root), "version": options.version, **provenance()}
    write_json(written[0], {**context, **statistics, "references": references})
    if options.keyframes_on_sheet:
        written.append(options.out / "contact_sheet.png")
        sheet = root.sheet(options.keyframes_on_sheet)
        with atomic_write(written[1]) as sink:
            sheet.save(sink, format="PNG")
    print(f"\nwritten: {', '.join(map(str, written))}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root")
    parser.add_argument("--version", required=True, help="e.g. v1.0-trainval")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--max-frames", type=int, metavar="N", help="of the figures, spread evenly; default: all"
    )
    parser.add_argument(
        "--keyframes-on-sheet", type=int, default=12, metavar="N", help="0 draws no sheet"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the colour probe")
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no figure")
    for name, words in (
        ("gts", "real Occ3D labels: labels.npz or folders of them"),
        ("sweep", "real LIDAR_TOP .pcd.bin"),
        ("cloud", "real 10-sweep clouds, float16 x y z intensity dt, LiDAR frame"),
    ):
        parser.add_argument(
            f"--reference-{name}", type=Path, nargs="+", default=[], metavar="PATH", help=words
        )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, max_frames=1, keyframes_on_sheet=0, seed=0, workers=1)
    return options


if __name__ == "__main__":
    run_tool(main)
