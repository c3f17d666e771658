"""Curves of several runs from the logs that their work dirs hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minkocc.engine.validation_figures import VALIDATIONS
from minkocc.evaluation.charts import save_figure
from minkocc.files.reading import read_json
from minkocc.structures.errors import UserError

Curve = dict[int, float]
"""A value by iteration."""

VALIDATED = ("miou", "geometric_iou")
"""What is drawn of validations, of protocol ``occ3d``."""


def logged(work_dir: Path) -> dict[str, Curve]:
    """Everything that a run logged while it trained; a run that was resumed has several logs.

    Args:
        work_dir: of the run.

    Returns:
        A curve for each name, such as ``loss_bce``; where two logs have an iteration, the later
        one's.

    Raises:
        UserError: the folder holds no log, or one is damaged.
    """
    logs = sorted(work_dir.glob("*/vis_data/scalars.json"))
    if not logs:
        raise UserError(f"{work_dir} holds no <time>/vis_data/scalars.json: name a run's work dir")
    curves: dict[str, Curve] = {}
    for path in logs:
        for place, values in _rows(path):
            for name, value in values.items():
                if isinstance(value, (int, float)) and name not in ("iter", "step", "epoch"):
                    curves.setdefault(name, {})[place] = float(value)
    return curves


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Iteration and values of each line but a validation's; one that is being written is left."""
    done = 0
    try:
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        for line in whole.splitlines():
            done += 1
            values = json.loads(line)
            if "iter" in values:
                yield int(values["iter"]), values
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"log {path}, line {done} is damaged ({error})") from error


def validated(work_dir: Path) -> dict[str, Curve]:
    """The mIoU and geometric IoU of a run's validations under ``occ3d``; empty without any.

    Args:
        work_dir: of the run.

    Raises:
        UserError: a file is damaged.
    """
    curves: dict[str, Curve] = {name: {} for name in VALIDATED}
    for path in (work_dir / VALIDATIONS).glob("iter_*.json"):
        try:
            content = read_json(path)
            place, figures = int(content["iteration"]), content.get("occ3d", {})
            found = {name: figures.get(name) for name in VALIDATED}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it") from error
        for name, value in found.items():
            if isinstance(value, (int, float)):  # None: no label held a voxel of any class
                curves[name][place] = float(value)
    return curves


def draw_learning_curves(
    work_dirs: Sequence[Path], names: Sequence[str], out: Path, smooth: int = 1
) -> None:
    """Draw one panel for each name that a run logged, and two for validations, a line a run.

    Args:
        work_dirs: of the runs; the ends of their paths are the legend.
        names: what to draw of the training log.
        out: the PNG.
        smooth: number of logged values that are averaged.

    Raises:
        UserError: a run has no log, or none of them logged a name.
    """
    titles = _titles(work_dirs)
    runs = {title: logged(work_dir) for title, work_dir in titles.items()}
    known = sorted({name for curves in runs.values() for name in curves})
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no run logged {', '.join(unknown)}: there is {', '.join(known)}")
    panels: dict[str, Mapping[str, Curve]] = {
        name: {run: _smooth(curves.get(name, {}), smooth) for run, curves in runs.items()}
        for name in names
    }
    tests = {title: validated(work_dir) for title, work_dir in titles.items()}
    for name in VALIDATED:
        panels[f"validation: {name}, percent"] = {run: found[name] for run, found in tests.items()}
    _draw({title: lines for title, lines in panels.items() if any(lines.values())}, out)


def _titles(work_dirs: Sequence[Path]) -> dict[str, Path]:
    """Work dirs by the shortest ends of their paths that tell them apart."""
    paths = list(dict.fromkeys(work_dir.resolve() for work_dir in work_dirs))
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        titles = {"/".join(path.parts[-parts:]): path for path in paths}
        if len(titles) == len(paths):
            break
    return titles


def _smooth(curve: Curve, window: int) -> Curve:
    """Means over so many values up to each place."""
    places = sorted(curve)
    values = [curve[place] for place in places]
    return {
        place: float(np.mean(values[max(0, i + 1 - window) : i + 1]))
        for i, place in enumerate(places)
    }


def _draw(panels: Mapping[str, Mapping[str, Curve]], out: Path) -> None:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows), layout="constrained")
    axes: Any = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis, (title, lines) in zip(axes, panels.items()):
        for run, curve in lines.items():
            places = sorted(curve)
            mark = "o-" if len(places) < 20 else "-"
            axis.plot(places, [curve[p] for p in places], mark, label=run, ms=3, lw=1.2)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    axes[0].legend(fontsize=8)
    save_figure(figure, out)
