"""Train and test the arms of a study, some runs at a time, and make one table of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from minkocc.files.writing import write_json, write_text
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.errors import UserError
from minkocc.study.charts import draw_study
from minkocc.study.definition import Run, Study, read_study, run_name
from minkocc.study.frozen_code import code_digest, frozen_code
from minkocc.study.run_files import RunFiles, results_in
from minkocc.study.schedule import Schedule
from minkocc.study.table import by_arm, commits_of, study_table

ROOT = Path(__file__).resolve().parent.parent


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Each run is tools/train.py and tools/test.py in processes of their own, from a "
        "copy of the code that the first call makes. The same command goes on after a kill. On a "
        "cluster, a job for each run: --arms NAME --seeds S.",
    )
    parser.add_argument("study", type=Path, help="e.g. studies/label_efficiency.py")
    parser.add_argument("--out", type=Path, help="default: work_dirs/<study's name>")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="S", help="these alone")
    parser.add_argument("--runs", type=int, metavar="N", help="begin N runs at most")
    parser.add_argument(
        "--max-hours", type=float, metavar="H", help="stop then; a later call goes on"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time [1]")
    parser.add_argument(
        "--train-only", action="store_true", help="leave testing to a later call, here or elsewhere"
    )
    parser.add_argument(
        "--known",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="take the runs that these study.json hold as done: made elsewhere, or before",
    )
    parser.add_argument("--list", action="store_true", help="show the runs, and begin none")
    parser.add_argument(
        "--report", action="store_true", help="make the table again, and run nothing"
    )
    parser.add_argument(
        "--refresh-code", action="store_true", help="let further runs use the code as it is now"
    )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, runs=1, jobs=1, max_hours=0)
    return options


def main() -> None:
    """Do what is left of the study."""
    options = parse_args()
    study = read_study(options.study, ROOT)
    out = (options.out or Path("work_dirs") / study.name).absolute()
    runs = _chosen(study, options.arms, options.seeds)
    if options.list or options.report:
        code = ROOT
    else:
        code = frozen_code(ROOT, out, options.refresh_code)
        if code.name != f"code_{code_digest(ROOT)[:8]}":
            print(f"[study] new runs use the code in {code}, which this checkout differs from")
    every = [RunFiles(run, study, out, code) for run in study.runs()]
    for path in options.known:
        _take(path, every)
    files = [each for each in every if each.run in runs]
    if options.list:
        for each in files:
            state = "done" if each.is_done() else "to do"
            print(f"{each.run.name:<28} {state:<6} {each.run.arm.label}")
        return
    failed: list[str] = []
    if not options.report:
        hours = options.max_hours
        seconds = None if hours is None else hours * 3600
        failed = Schedule(options.jobs, options.runs, seconds, options.train_only).work(files)
    _report(study, every, out)
    if failed:
        raise UserError(f"{len(failed)} runs failed: {', '.join(failed)}; their words stand above")


def _chosen(study: Study, arms: list[str] | None, seeds: list[int] | None) -> list[Run]:
    known = [arm.name for arm in study.arms]
    for name in arms or ():
        if name not in known:
            raise UserError(f"--arms {name}: the study has {', '.join(known)}")
    runs = [
        run
        for run in study.runs()
        if (arms is None or run.arm.name in arms) and (seeds is None or run.seed in seeds)
    ]
    if not runs:
        raise UserError("no run of the study has these --arms and --seeds")
    return runs


def _take(path: Path, files: Sequence[RunFiles]) -> None:
    """Take over the results that another study.json holds.

    Raises:
        UserError: it cannot be read, or holds a run that is none of this study's.
    """
    ours = {each.run.name: each for each in files}
    for result in results_in(path):
        name = run_name(result["arm"], result["seed"])
        if name not in ours:
            raise UserError(f"{path} has a run {name} that this study does not have")
        ours[name].take(result, path)


def _report(study: Study, files: list[RunFiles], out: Path) -> None:
    """Table, pictures and one JSON file of all results that are there."""
    results = [each.result() for each in files if each.is_done()]
    if not results:
        print("[study] no run is done yet")
        return
    arms = by_arm(results)
    ordered = {arm.name: arms[arm.name] for arm in study.arms if arm.name in arms}
    table = study_table(ordered, study.splits, study.reference)
    commits = commits_of(results)
    if len(commits) > 1:
        print(f"[study] the results are of {len(commits)} states of the code: {', '.join(commits)}")
    print(f"\n{table}\n")
    write_text(out / "table.md", table + "\n")
    write_json(out / "study.json", {**provenance(), "commits": commits, "runs": results})
    pictures = draw_study(study, ordered, out / "charts")
    print(f"table     {out / 'table.md'}\nfigures   {out / 'study.json'}")
    for picture in pictures:
        print(f"picture   {picture}")


if __name__ == "__main__":
    run_tool(main)
