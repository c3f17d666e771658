"""``meta.json``: how a folder of pseudo-labels came about, and whether we know its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minkocc.files.reading import read_json
from minkocc.files.writing import write_json
from minkocc.structures.errors import UserError, short
from minkocc.structures.taxonomy import CAMERAS, OCC3D, Taxonomy

FORMAT = 1
"""Counts up whenever the same names or ids come to mean something else."""

_NAME = "meta.json"
_AGAIN = "generate the pseudo-labels again with tools/generate_pseudo_labels.py"
_AGAIN_SYNTHETIC = "run tools/create_synthetic.py again, which writes it anew"


class PseudoLabelMetaError(UserError, ValueError):
    """A ``meta.json`` that cannot be used; the text names it and the remedy."""


def meta_path(folder: Path) -> Path:
    """Where a folder of pseudo-labels says how it came about."""
    return folder / _NAME


def make_meta(
    source: str,
    models: Sequence[Mapping[str, Any] | str],
    class_map: Mapping[str, str | None],
    image_size: Sequence[int] | None,
    cameras: Sequence[str] = CAMERAS,
    taxonomy: Taxonomy = OCC3D,
    **more: Any,
) -> dict[str, Any]:
    """The content of ``meta.json``.

    Args:
        source: what kind of models made the labels.
        models: their names, or what is known of each.
        class_map: from what the models say to a class or "sky"; None: is not labelled.
        image_size: width and height where all images have one size.
        cameras: whose images are labelled.
        taxonomy: the classes.
        more: what else the source says of itself: prompts, thresholds, ...
    """
    return {
        "format": FORMAT,
        "source": source,
        "models": list(models),
        **more,
        "class_map": dict(class_map),
        "ids": _ids(taxonomy),
        "cameras": list(cameras),
        "image_size": None if image_size is None else list(image_size),
    }


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write ``meta.json`` into a folder of pseudo-labels."""
    write_json(meta_path(folder), dict(meta))


def read_meta(folder: Path, taxonomy: Taxonomy = OCC3D) -> dict[str, Any]:
    """Read ``meta.json`` and check that its format and its classes are ours.

    Args:
        folder: of pseudo-labels.
        taxonomy: the classes that they must be of.

    Raises:
        PseudoLabelMetaError: it is missing, damaged, of another format, or names a class or an id
            that is not the taxonomy's.
    """
    path = meta_path(folder)
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise PseudoLabelMetaError(
            f"{path} does not exist, so nothing tells what the ids in {folder} mean: {_AGAIN}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PseudoLabelMetaError(f"{path} cannot be read ({error}): {_AGAIN}") from error
    problem = meta_problem(content, taxonomy)
    if problem:
        raise PseudoLabelMetaError(f"{path} {problem}: {_remedy(content)}")
    return dict(content)


def _ids(taxonomy: Taxonomy) -> dict[str, str]:
    return {str(number): name for number, name in taxonomy.names_2d.items()}


def meta_problem(content: Any, taxonomy: Taxonomy = OCC3D) -> str | None:
    """Why the content of a ``meta.json`` cannot be used, None if it can."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        return f"has format {short(found)}, expected {FORMAT}"
    class_map, ids = content.get("class_map"), content.get("ids")
    if not isinstance(class_map, dict):
        return f"has {type(class_map).__name__} as class_map, expected a dict of source: class"
    for source, name in class_map.items():
        if name is not None and name not in taxonomy.names_2d.values():
            known = ", ".join(taxonomy.names_2d.values())
            return f"maps {short(source)} to {short(name)}, expected null or one of {known}"
    expected = _ids(taxonomy)
    if ids is not None and ids != expected:
        given = ids if isinstance(ids, dict) else {}
        wrong = next((key for key, name in expected.items() if given.get(key) != name), "more")
        return f"calls id {wrong} {short(given.get(wrong))}, expected {expected.get(wrong)!r}"
    if ids is None and taxonomy != OCC3D:
        return "does not say what its ids mean, expected those of the taxonomy"
    return None


def model_names(meta: Mapping[str, Any]) -> list[str]:
    """What the models are called that made the labels; none where it is not said."""
    models = meta.get("models")
    if not isinstance(models, list):
        models = [meta.get("detector"), meta.get("segmenter")]
    names = [model.get("name") if isinstance(model, dict) else model for model in models]
    return [str(name) for name in names if name]


def _remedy(meta: Any) -> str:
    """A synthetic world's file is written by another tool than a real root's."""
    names = model_names(meta) if isinstance(meta, dict) else []
    synthetic = any(name.startswith("synthetic-") for name in names)
    return _AGAIN_SYNTHETIC if synthetic else _AGAIN
