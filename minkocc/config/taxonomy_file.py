"""The file of a taxonomy: a config that sets ``taxonomy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from minkocc.config.knobs import ConfigError

_SEEN = 8  # files that name one another's taxonomy


def taxonomy_of_file(path: Path, folder: Path) -> Any:
    """What a file, or a whole recipe, says of its ``taxonomy``, unchecked.

    Args:
        path: absolute, or relative to ``folder`` or else to the working directory.
        folder: of whoever names it.

    Raises:
        ConfigError: the file is missing, cannot be read, or says no taxonomy.
    """
    said: Any = str(path)
    for _ in range(_SEEN):
        if not isinstance(said, str):
            return said
        found = next((p for p in (folder / said, Path(said)) if p.is_file()), None)
        if found is None:
            raise ConfigError(f"taxonomy {said} is not a file: see configs/_base_/taxonomies")
        said, folder = _read(found), found.parent
    raise ConfigError(f"taxonomy {path}: its files name one another, and none says the classes")


def config_of_file(path: str | Path, what: str) -> Config:
    """A config file as mmengine reads it.

    Args:
        path: the file.
        what: what to call it in an error.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is Python: it fails in every way that Python can
        kind = type(error).__name__
        raise ConfigError(f"{what} {path} cannot be read: {kind}: {error}") from error


def _read(path: Path) -> Any:
    content = config_of_file(path, "taxonomy")
    if "taxonomy" not in content:
        raise ConfigError(f"taxonomy {path} sets no taxonomy: expected taxonomy = dict(...)")
    return content.taxonomy.to_dict() if hasattr(content.taxonomy, "to_dict") else content.taxonomy
