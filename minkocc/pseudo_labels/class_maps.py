"""From the classes of a semantic segmentation model to ours."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.pseudo_labels.prompts import check_label
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import OCC3D, UNLABELLED_2D, Taxonomy

ClassMap = Mapping[str, str | None]


class ClassMapError(UserError, ValueError):
    """A class map that cannot be used; the text names it, the class and the remedy."""


def read_class_map(name: str, taxonomy: Taxonomy = OCC3D) -> ClassMap:
    """A map of the taxonomy's, or that of a JSON file ``{source label: class, "sky" or null}``.

    Raises:
        ClassMapError: there is no such map or file, or it cannot be read.
        PromptError: it names a class that is not ours.
    """
    if name in taxonomy.class_maps:
        return taxonomy.class_maps[name]
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ClassMapError(
            f"--class-map {name} cannot be read ({error}): name "
            f"{', '.join(taxonomy.class_maps) or 'one of the taxonomy, which has none,'} or "
            'a JSON file such as {"road": "driveable_surface", "sky": "sky", "boat": null}'
        ) from error
    if not isinstance(content, dict):
        raise ClassMapError(
            f"--class-map {name} holds a {type(content).__name__}, expected a dict from the "
            "model's labels to ours"
        )
    for source, label in content.items():
        if label is not None:
            check_label(label, f"--class-map {name}: {source!r}", taxonomy)
    return content


def full_class_map(
    id2label: Mapping[int, str], class_map: ClassMap, where: str
) -> dict[str, str | None]:
    """The map over all labels of a model; those it does not name become unlabelled.

    Args:
        id2label: of the model's configuration.
        class_map: from some of its labels.
        where: the map and the model, for errors.

    Raises:
        ClassMapError: the map names a label that the model has not, or labels nothing.
    """
    labels = [str(label) for _, label in sorted(id2label.items())]
    for name in class_map:
        if name not in labels:
            near = difflib.get_close_matches(name, labels, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ClassMapError(
                f"{where}: the model has no label {name!r}{hint}, it has {', '.join(labels)}"
            )
    full = {label: class_map.get(label) for label in labels}
    if not any(full.values()):
        raise ClassMapError(f"{where} maps no label to a class: nothing would be labelled")
    return full


def source_ids(
    id2label: Mapping[int, str], class_map: Mapping[str, Any], taxonomy: Taxonomy = OCC3D
) -> NDArray[np.int64]:
    """The 2D id of each of the model's classes, ``(classes,)``; 0 where it has none of ours.

    Args:
        id2label: of the model's configuration.
        class_map: what ``full_class_map`` gave.
        taxonomy: of our classes.
    """
    names = [class_map[str(label)] for _, label in sorted(id2label.items())]
    return np.array([taxonomy.id_2d(name) if name else UNLABELLED_2D for name in names])
