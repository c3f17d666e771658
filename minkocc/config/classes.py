"""The classes that a recipe speaks of, and the taxonomy that a file holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minkocc.config.knobs import ConfigError
from minkocc.config.taxonomy_file import taxonomy_of_file
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.taxonomy import OCC3D, Taxonomy


def recipe_classes(cfg: Mapping[str, Any]) -> ClassGroups:
    """The classes that a resolved recipe's network tells apart."""
    return ClassGroups.of(cfg.get("class_groups"), Taxonomy.of(cfg.get("taxonomy")))


def add_taxonomy(parser: argparse.ArgumentParser) -> None:
    """Give a tool without a recipe ``--taxonomy``, for ``read_taxonomy``."""
    parser.add_argument(
        "--taxonomy",
        metavar="CONFIG",
        help="the labels' classes: a file of configs/_base_/taxonomies, or a recipe (default: "
        "Occ3D-nuScenes')",
    )


def read_taxonomy(path: str | Path | None) -> Taxonomy:
    """The ``taxonomy`` of a config file: one of ``configs/_base_/taxonomies``, or a whole recipe.

    Args:
        path: the file; None takes Occ3D-nuScenes' classes.

    Raises:
        ConfigError: the file cannot be read, says no taxonomy, or one that makes no sense.
    """
    if path is None:
        return OCC3D
    try:
        return Taxonomy.of(taxonomy_of_file(Path(path), Path.cwd()))
    except ValueError as error:
        raise ConfigError(f"--taxonomy {path}: {error}") from error
