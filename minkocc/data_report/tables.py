"""The figures of a data set for people: tables with the real files' figures beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minkocc.evaluation.report import aligned
from minkocc.structures.taxonomy import CLASSES

_ABSENT = "-"
_TARGET = 0.45  # the synthetic world's: colour must not give the class away

Row = list[str]
Part = Mapping[str, Any] | None


def data_tables(statistics: Mapping[str, Any], references: Mapping[str, Any]) -> str:
    """Markdown tables of a root's statistics; a column a reference where there is one.

    Args:
        statistics: of ``Root.statistics``.
        references: of ``reference_statistics``.
    """
    lines = [
        f"{statistics['frames']} of {statistics['frames_in_root']} keyframes, "
        f"{statistics['scenes']} scenes"
    ]
    for title, rows in _tables(statistics, references):
        if len(rows) > 1:
            lines += ["", title, "", *aligned(rows)]
    return "\n".join(lines)


def _tables(
    statistics: Mapping[str, Any], references: Mapping[str, Any]
) -> Iterator[tuple[str, list[Row]]]:
    labels, real = statistics["labels"], references["labels"]
    if labels:
        published = references["published_class_share"]
        yield (
            "Classes: percent of the occupied voxels, scenes that hold one",
            list(_class_rows(labels, real, published)),
        )
        yield "Labels: voxels a frame", list(_label_rows(labels, real))
    yield "One sweep", list(_sweep_rows(statistics["sweep"], references["sweep"]))
    yield (
        "Percentiles and rings of a sweep, beyond 2.5 m",
        list(_distribution_rows(statistics["sweep"], references["sweep"])),
    )
    if statistics["cloud"]:
        yield (
            "Ten sweeps, without the vehicle, inside Occ3D's range",
            list(_cloud_rows(statistics["cloud"], references["cloud"])),
        )
    if statistics["pseudo_labels"]:
        share = statistics["pseudo_labels"]["unlabelled_share"]
        head = ["Pseudo-labels", "mean", "min", "max"]
        values = [_percent(share[key]) for key in head[1:]]
        yield "2D pseudo-labels", [head, ["percent of a frame unlabelled", *values]]
    if statistics["colour_probe"]:
        yield _probe_title(statistics["colour_probe"]), _probe_rows(statistics["colour_probe"])
        yield "What colour gives away", list(_probe_classes(statistics["colour_probe"]))


def _class_rows(labels: Mapping[str, Any], real: Part, published: Mapping[str, float]) -> list[Row]:
    sides = [labels, real] if real else [labels]
    head = ["class", "all", "mask_camera", "scenes"]
    if real:
        head += ["real all", "real mask_camera"]
    rows = [[*head, "published"]]
    for name in CLASSES:
        row = [name]
        for i, side in enumerate(sides):
            row += [_percent(side["class_share"][key][name]) for key in ("all", "mask_camera")]
            row += [str(side["scenes_with_class"][name])] if i == 0 else []
        rows.append([*row, _percent(published[name])])
    return rows


def _label_rows(labels: Mapping[str, Any], real: Part) -> Iterator[Row]:
    yield _spread_head("voxels", real)
    for title, path in (
        ("occupied", ("occupied_voxels",)),
        ("mask_lidar", ("mask_lidar", "all")),
        ("mask_lidar, occupied", ("mask_lidar", "occupied")),
        ("mask_lidar, free", ("mask_lidar", "free")),
        ("mask_camera", ("mask_camera", "all")),
        ("mask_camera, occupied", ("mask_camera", "occupied")),
        ("mask_camera, free", ("mask_camera", "free")),
    ):
        yield _spread_row(title, labels, real, path)
    yield _spread_row("occupied, percent of the grid", labels, real, ("occupied_share",), 100)


def _sweep_rows(sweep: Mapping[str, Any], real: Part) -> Iterator[Row]:
    yield _spread_head("", real)
    yield _spread_row("points", sweep, real, ("points",))
    yield _spread_row("points beyond 1 m", sweep, real, ("points_beyond_1_m",))
    yield _spread_row("points beyond 2.5 m", sweep, real, ("points_beyond_2.5_m",))
    yield from _voxel_rows(sweep, real)


def _cloud_rows(cloud: Mapping[str, Any], real: Part) -> Iterator[Row]:
    yield _spread_head("", real)
    yield _spread_row("points beyond 2.5 m", cloud, real, ("points_beyond_2.5_m",))
    yield from _voxel_rows(cloud, real)


def _voxel_rows(part: Mapping[str, Any], real: Part) -> Iterator[Row]:
    for size in part["voxels"]:
        yield _spread_row(f"voxels of {size} m", part, real, ("voxels", size))


def _spread_head(name: str, real: Part) -> Row:
    return [name, "mean", "min", "max", *(["real"] if real else [])]


def _spread_row(
    title: str, part: Mapping[str, Any], real: Part, path: tuple[str, ...], factor: int = 1
) -> Row:
    values = _at(part, path)
    cells = [_number(factor * values[key]) for key in ("mean", "min", "max")]
    return [title, *cells, *([_number(factor * _at(real, path)["mean"])] if real else [])]


def _at(part: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, float]:
    for key in path:
        part = part[key]
    return part


def _distribution_rows(sweep: Mapping[str, Any], real: Part) -> Iterator[Row]:
    sides = [sweep, real] if real else [sweep]
    yield ["", "this root", *(["real"] if real else [])]
    for title, key in (("intensity", "intensity_percentiles"), ("range, m", "range_percentiles")):
        for percent in sweep[key]:
            cells = [_ABSENT if s[key][percent] is None else f"{s[key][percent]:g}" for s in sides]
            yield [f"{title}, {percent} %", *cells]
    rings = [side["ring_share"] for side in sides]
    for ring in range(max(map(len, rings))):
        cells = [_percent(share[ring]) if ring < len(share) else _ABSENT for share in rings]
        yield [f"ring {ring}, percent of the points", *cells]


def _probe_title(probe: Mapping[str, Any]) -> str:
    said, makers = [], probe["labels_by"]
    ours = any(name.startswith("synthetic") for name in makers)
    for side, words in (("with_sky", "with sky"), ("without_sky", "without")):
        figures = [probe[side][key] for key in ("accuracy", "familiar_accuracy")]
        verdict = f" ({'under' if max(figures) < _TARGET else 'NOT under'})" if ours else ""
        said.append(f"{figures[0]:.3f} and {figures[1]:.3f} {words}{verdict}")
    target = f"; the synthetic world's target is under {_TARGET}" if ours else ""
    return (
        f"Colour probe against labels by {', '.join(makers) or 'unknown models'}: accuracy in "
        f"unknown and in familiar scenes {', '.join(said)}{target} (logistic regression from RGB, "
        f"{len(probe['train_scenes'])} scenes to fit, {len(probe['test_scenes'])} to test)"
    )


def _probe_rows(probe: Mapping[str, Any]) -> list[Row]:
    return [
        ["percent", "with sky", "without sky"],
        *(
            [title, *(_percent(probe[side][key]) for side in ("with_sky", "without_sky"))]
            for title, key in (
                ("accuracy in unknown scenes", "accuracy"),
                ("accuracy in familiar scenes", "familiar_accuracy"),
                ("most frequent class", "majority_share"),
                ("accuracy, classes weighed alike", "balanced_accuracy"),
                ("a constant answer there", "chance"),
            )
        ),
    ]


def _probe_classes(probe: Mapping[str, Any]) -> Iterator[Row]:
    yield ["class", "percent of pixels", "recall", "recall, classes weighed alike"]
    for name, values in probe["with_sky"]["classes"].items():
        yield [name, *(_percent(values[key]) for key in ("share", "recall", "balanced_recall"))]


def _percent(share: float | None) -> str:
    return _ABSENT if share is None else f"{100 * share:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
