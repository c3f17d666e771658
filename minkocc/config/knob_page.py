"""The page of knobs: what each means, what it is in a recipe, and which parts read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from minkocc.config.knobs import KNOBS
from minkocc.config.load import references


def knob_table(recipe: Config) -> str:
    """A Markdown table of all knobs.

    Args:
        recipe: what ``recipe_of`` gave: its values are shown, and its references say what reads
            them.
    """
    readers: dict[str, dict[str, None]] = {name: {} for name in KNOBS}
    for name, component in _reads(recipe.to_dict(), ""):
        readers[name][component] = None
    rows = ["| knob | here | what it is | read by | on resume |", "|---|---|---|---|---|"]
    for name, knob in KNOBS.items():
        read_by = ", ".join(f"`{component}`" for component in readers[name])
        value = _shown(recipe[name]) if name in recipe else "-"
        rows.append(f"| `{name}` | {value} | {knob.meaning} | {read_by} | {knob.on_resume.value} |")
    return "\n".join(rows) + "\n"


def _shown(value: Any) -> str:
    """A value as a cell holds it; a taxonomy has a file of its own."""
    if isinstance(value, Mapping) and isinstance(value.get("classes"), list):
        return f"{len(value['classes'])} classes"
    return f"`{value!r}`"


def _reads(node: Any, component: str) -> Iterator[tuple[str, str]]:
    """Which component refers to which knob: its type, or the key where it has none."""
    if isinstance(node, Mapping):
        own = node.get("type")
        for key, value in node.items():
            yield from _reads(value, str(own) if own else component or str(key))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _reads(value, component)
    elif isinstance(node, str):
        for name in references(node):
            yield name, component
