"""Measure a folder of predictions, of any code base: no model, no GPU, no mmengine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from minkocc.evaluation.prediction_folder import (
    FrameList,
    MatchedFrames,
    evaluate_frames,
    frames_of_infos,
    frames_of_origins,
    match_frames,
    some_of,
)
from minkocc.evaluation.protocols import PROTOCOLS
from minkocc.evaluation.report import table, write_report
from minkocc.files.occupancy import PredictionError
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.runtime.worker_pool import available_cores

_MAX_WORKERS = 16  # each holds torch: some 0.4 GB


def main() -> None:
    """Print each protocol's table, and write JSON, Markdown and pictures."""
    options = _parse()
    listed = _listed(options)
    chosen = options.protocol or (["occ3d", "rayiou"] if listed else ["occ3d"])
    protocols = list(dict.fromkeys(chosen))
    blind = [name for name in protocols if PROTOCOLS[name].needs_origins and not listed]
    if blind:
        raise PredictionError(
            f"protocol {', '.join(blind)} casts rays: say from where with --infos or --origins"
        )
    if options.out:
        _make_folder(options.out)  # now, not after an hour of work
    matched = match_frames(options.pred, options.gt, listed)
    _tell(matched, options.allow_missing)
    if "paper-repo" in protocols and not listed:
        _warn("paper-repo: voxels alone; for its rays give --infos or --origins")
    workers = options.workers or _workers_for(len(matched.frames))
    summaries = evaluate_frames(matched.frames, protocols, workers)
    for summary in summaries:
        print(f"\n{table(summary)}")
    if options.out:
        context = {
            "pred": str(options.pred),
            "gt": str(options.gt),
            "frames": listed and str(listed.source),
            "missing": matched.missing,
            "missing_counted_as": "free" if matched.missing else None,
            "extra": matched.extra,
            **provenance(),
        }
        written = write_report(options.out, summaries, context)
        print(f"\nresults: {', '.join(map(str, written))}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pred", type=Path, required=True, metavar="DIR", help="<token>.npz files")
    parser.add_argument(
        "--gt", type=Path, required=True, metavar="DIR", help="<scene>/<token>/labels.npz of Occ3D"
    )
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument("--infos", type=Path, metavar="PKL", help="frames and their ray origins")
    frames.add_argument(
        "--origins", type=Path, metavar="JSON", help="{token: [[x, y, z], ...]}, metres in ego"
    )
    parser.add_argument(
        "--protocol", nargs="+", choices=list(PROTOCOLS), metavar="NAME",
        help=f"of {', '.join(PROTOCOLS)}; default: occ3d, with --infos or --origins rayiou too",
    )  # fmt: skip
    parser.add_argument(
        "--workers",
        type=int,
        help="processes; 1 casts rays on all cores; default: by frames and cores",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="and .md and .png beside it")
    parser.add_argument(
        "--allow-missing", action="store_true", help="count frames without a prediction as free"
    )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, workers=1)
    if options.out and options.out.suffix != ".json":
        parser.error(f"--out {options.out}: expected a name that ends with .json")
    return options


def _listed(options: argparse.Namespace) -> FrameList | None:
    if options.infos:
        return frames_of_infos(options.infos)
    return frames_of_origins(options.origins) if options.origins else None


def _workers_for(frames: int) -> int:
    """A process takes some seconds to start: it should have a hundred frames to work on."""
    return max(1, min(available_cores(), _MAX_WORKERS, frames // 100))


def _make_folder(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir() or not os.access(out.parent, os.W_OK):
            raise OSError(f"{out} cannot be written")
    except OSError as error:
        raise PredictionError(f"--out {out}: {error}: name a file that can be written") from error


def _tell(matched: MatchedFrames, allow_missing: bool) -> None:
    """Say what is not there, or not asked for; refuse what is not there unless it is allowed."""
    if matched.not_asked:
        _warn(f"labels that are not in the list of frames and not measured: {matched.not_asked}")
    if matched.extra:
        _warn(
            "predictions that belong to no frame that is measured: "
            f"{len(matched.extra)} ({some_of(matched.extra, 5)})"
        )
    if not matched.missing:
        return
    words = f"frames without a prediction: {len(matched.missing)} of {len(matched.frames)}"
    some = some_of(matched.missing, 5)
    if not allow_missing:
        raise PredictionError(
            f"{words} ({some}). Predict them, name the frames to measure with "
            "--infos or --origins, or count them as free with --allow-missing"
        )
    _warn(f"{words}, counted as free ({some})")


def _warn(words: str) -> None:
    print(f"warning: {words}", file=sys.stderr)


if __name__ == "__main__":
    run_tool(main)
