"""Curves of several runs from the logs that their work dirs hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

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
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                values = json.loads(line)
                if "iter" not in values:
                    continue  # of a validation
                place = int(values["iter"])
            except (ValueError, TypeError) as error:
                raise UserError(f"log {path}, line {number} is damaged ({error})") from error
            for name, value in values.items():
                if isinstance(value, (int, float)) and name not in ("iter", "step", "epoch"):
                    curves.setdefault(name, {})[place] = float(value)
    return curves


def validated(work_dir: Path) -> dict[str, Curve]:
    """MIoU and geometric IoU of a run's validations, empty where it had none.

    Raises:
        UserError: a file is damaged.
    """
    curves: dict[str, Curve] = {name: {} for name in VALIDATED}
    for path in (work_dir / "validations").glob("iter_*.json"):
        try:
            content = read_json(path)
            for name in VALIDATED:
                curves[name][int(content["iteration"])] = float(content["occ3d"][name])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it") from error
    return curves


def draw_learning_curves(
    work_dirs: Sequence[Path], names: Sequence[str], out: Path, smooth: int = 1
) -> None:
    """Draw one panel for each name that a run logged, and two for validations, a line a run.

    Args:
        work_dirs: of the runs; the folders' names are the legend.
        names: what to draw of the training log.
        out: the PNG.
        smooth: number of logged values that are averaged.

    Raises:
        UserError: a run has no log, or none of them logged a name.
    """
    runs = {work_dir.name: logged(work_dir) for work_dir in work_dirs}
    known = sorted({name for curves in runs.values() for name in curves})
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no run logged {', '.join(unknown)}: there is {', '.join(known)}")
    panels: dict[str, Mapping[str, Curve]] = {
        name: {run: _smooth(curves.get(name, {}), smooth) for run, curves in runs.items()}
        for name in names
    }
    tests = {work_dir.name: validated(work_dir) for work_dir in work_dirs}
    for name in VALIDATED:
        panels[f"validation: {name}, percent"] = {run: found[name] for run, found in tests.items()}
    _draw({title: lines for title, lines in panels.items() if any(lines.values())}, out)


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
