"""Reads a whole synthetic data set back and says what is wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minkocc.files.pseudo_label_meta import meta_path, meta_problem
from minkocc.runtime.worker_pool import WorkerPool
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES, NUM_CLASSES
from minkocc.synthetic.checks import agreement
from minkocc.synthetic.checks.file_checks import fault
from minkocc.synthetic.checks.scene_checks import SceneJob, check_scene, open_tables, rewrite_scene
from minkocc.synthetic.checks.table_checks import table_faults
from minkocc.synthetic.writing.tables import TABLE_NAMES, VERSION, Record, Tables

LIMITS = {
    "points_in_boxes": 0.99,
    "static_in_voxels": 0.98,
    "moving_in_voxels": 0.98,
    "labels_in_images": 0.98,
}
"""What these figures of ``agreement`` have to exceed over the whole set."""
MAX_LISTED = 20
"""Problems that are told in words; the rest are counted."""

_AGAIN = "run the same command again, which writes it anew"
_TEMPORARY = (".part", ".tmp")


def verify_dataset(root: Path, workers: int = 1) -> dict[str, Any]:
    """Read every file of a synthetic data set and compare what its sensors and labels say.

    Args:
        root: of the data set.
        workers: number of processes.

    Returns:
        JSON-ready. ``problems``: at most ``MAX_LISTED`` sentences that name file, fault and remedy;
        ``num_problems``: how many there are. ``figures``: by name ``right``, ``total``, ``share``,
        ``limit`` (None where there is none) and ``by_class``. ``class_voxels``: the occupied voxels
        of each class. ``scenes`` that were read and ``keyframes`` that were measured.

    Raises:
        UserError: there is no synthetic data set under ``root``.
        ValueError: ``workers`` is not positive.
    """
    with WorkerPool(workers) as pool:
        tables, problems = _read_tables(root)
        if not problems:
            problems += _table_problems(root, tables)
            problems += _index_problems(root, [scene["name"] for scene in tables["scene"]])
        problems += _leftovers(root)
        jobs, refusal = _jobs(root)
        if refusal and not problems:
            problems += _missing_files(root, tables)
        problems += refusal
        running = pool.run(check_scene, jobs)
        reports = list(tqdm(running, total=len(jobs), desc="verify", unit="scene"))
    problems += [problem for report in reports for problem in report.problems]
    figures = _figures(agreement.merge(report.figures for report in reports))
    problems += _below_limits(root, figures)
    voxels = sum((report.voxels for report in reports), np.zeros(NUM_CLASSES, np.int64))
    return {
        "problems": problems[:MAX_LISTED],
        "num_problems": len(problems),
        "figures": figures,
        "class_voxels": dict(zip(CLASSES, voxels.tolist())),
        "scenes": len(reports),
        "keyframes": sum(report.keyframes for report in reports),
    }


def format_report(report: dict[str, Any]) -> str:
    """What ``verify_dataset`` returned, as an aligned table and a list of problems."""
    rows = [("figure", "right", "of", "share", "limit")]
    for name, figure in report["figures"].items():
        limit = "" if figure["limit"] is None else f"> {figure['limit']:.0%}"
        counts = (str(figure["right"]), str(figure["total"]))
        rows.append((name, *counts, f"{figure['share']:.3%}", limit))
    first, *others = (max(map(len, column)) for column in zip(*rows))
    lines = [
        "  ".join([row[0].ljust(first), *(c.rjust(width) for c, width in zip(row[1:], others))])
        for row in rows
    ]
    absent = [name for name, count in report["class_voxels"].items() if not count]
    lines.append(
        f"{report['scenes']} scenes, {report['keyframes']} keyframes, "
        f"{NUM_CLASSES - len(absent)} of {NUM_CLASSES} classes in the labels"
        + (f" (without {', '.join(absent)})" if absent else "")
    )
    lines += [f"problem: {problem}" for problem in report["problems"]]
    unlisted = report["num_problems"] - len(report["problems"])
    if unlisted:
        lines.append(f"... and {unlisted} problems more")
    return "\n".join(line.rstrip() for line in lines)


def _read_tables(root: Path) -> tuple[Tables, list[str]]:
    """All tables, and which of them cannot be read."""
    folder = root / VERSION
    if not folder.is_dir():
        raise UserError(f"{root} holds no {VERSION}: name a root that create_synthetic.py wrote")
    tables: Tables = {name: [] for name in TABLE_NAMES}
    problems = []
    for name, records in tables.items():
        path = folder / f"{name}.json"
        found = fault(_load_table, path, records)
        if found:
            problems.append(f"{path} {found}: {_AGAIN}")
    return tables, problems


def _load_table(path: Path, into: list[Record]) -> str | None:
    records = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        return "is not a list of records"
    into += records
    return None


def _table_problems(root: Path, tables: Tables) -> list[str]:
    remedy = (
        "run the same command again, which writes the tables anew from .scenes; if that does not "
        f"help, delete {root / '.scenes'} first"
    )
    return [f"{root / VERSION}: {found}: {remedy}" for found in table_faults(tables)]


def _index_problems(root: Path, scenes: list[str]) -> Iterator[str]:
    """Whether the splits name every scene once, and the pseudo-labels are described."""
    path = root / "splits.json"
    found = fault(_splits_fault, path, scenes)
    if found:
        yield f"{path} {found}: {_AGAIN}"
    path = _meta_path(root)
    found = fault(_meta_fault, path)
    if found:
        yield f"{path} {found}: {_AGAIN}"


def _splits_fault(path: Path, scenes: list[str]) -> str | None:
    splits = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(splits, dict) or set(splits) != {"train", "val"}:
        return "does not hold the splits train and val"
    named = sorted([*splits["train"], *splits["val"]])
    if named != sorted(scenes):
        return f"names {', '.join(named)}, expected each of {', '.join(sorted(scenes))} once"
    return None


def _meta_path(root: Path) -> Path:
    return meta_path(root / "pseudo_labels")


def _meta_fault(path: Path) -> str | None:
    meta = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(meta, dict) or not isinstance(meta.get("models"), list):
        return "does not say which models made the pseudo-labels"
    return meta_problem(meta)


def _is_clean(root: Path) -> bool:
    """Whether the pseudo-labels are the truth."""
    path = _meta_path(root)
    if fault(_meta_fault, path):
        return False
    return bool(json.loads(path.read_text(encoding="utf-8"))["models"] == ["synthetic-clean"])


def _leftovers(root: Path) -> Iterator[str]:
    """What a writer that was killed leaves behind."""
    for path in sorted(root.rglob("*")):
        if path.suffix in _TEMPORARY and path.is_file():
            yield f"{path} is left of an interrupted write: delete it"


def _jobs(root: Path) -> tuple[list[SceneJob], list[str]]:
    """A job per scene, or why nuscenes-devkit does not load the set."""
    run, clean = time.monotonic_ns(), _is_clean(root)
    try:
        nusc = open_tables(root, run)
    except (KeyError, AssertionError, OSError, ValueError, TypeError, IndexError) as error:
        return [], [
            f"{root / VERSION} is not loaded by nuscenes-devkit ({type(error).__name__}: {error}), "
            "so that no scene was read: mend what is listed before this and verify again"
        ]
    return [SceneJob(root, scene["name"], clean, run) for scene in nusc.scene], []


def _missing_files(root: Path, tables: Tables) -> Iterator[str]:
    """Files named in sound tables that are not there; without some the devkit does not load."""
    scenes = {r["token"]: r["name"] for r in tables["scene"]}
    logs = {r["log_token"]: r["name"] for r in tables["scene"]}
    samples = {r["token"]: scenes[r["scene_token"]] for r in tables["sample"]}
    data = {r["token"]: samples[r["sample_token"]] for r in tables["sample_data"]}
    named = [(r["filename"], data[r["token"]]) for r in tables["sample_data"]]
    named += [(r["filename"], data[r["sample_data_token"]]) for r in tables["lidarseg"]]
    named += [(r["filename"], logs[r["log_tokens"][0]]) for r in tables["map"]]
    for filename, scene in named:
        if not (root / filename).is_file():
            yield f"{root / filename} is missing: {rewrite_scene(root, scene)}"


def _figures(found: agreement.Agreement) -> dict[str, dict[str, Any]]:
    """The sums, JSON-ready."""
    figures = {}
    for name, counts in found.items():
        right, total = (int(n) for n in counts.sum(0))
        figures[name] = {
            "right": right,
            "total": total,
            "share": agreement.share(counts),
            "limit": LIMITS.get(name),
            "by_class": dict(zip(CLASSES, counts.tolist())),
        }
    return figures


def _below_limits(root: Path, figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Figures that do not exceed their limit, with the class that loses most."""
    for name, figure in figures.items():
        if figure["limit"] is None or figure["share"] > figure["limit"]:
            continue
        wrong = {kind: total - right for kind, (right, total) in figure["by_class"].items()}
        worst = max(wrong, key=lambda kind: wrong[kind])
        yield (
            f"{root}: {name} is {figure['share']:.3%}, expected more than {figure['limit']:.0%}; "
            f"{wrong[worst]} of the {figure['total'] - figure['right']} misses are {worst}: write "
            "the set anew in an empty folder, and if it stays so report it with its synthetic.json"
        )
