"""Damage to JSON: notes, kept counts, lists, tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.e2e.mutations.any_file import (
    CUT,
    NO_FILE,
    NOISE,
    UNTOLD,
    Mutation,
    changed_by,
    of_bytes,
)
from tests.e2e.mutations.values import MARK, places, shallow, wrong_value


def _dumped(content: Any) -> str:
    try:
        return json.dumps(content, default=str)
    except RecursionError:
        mark = json.dumps(MARK)
        return json.dumps(shallow(content), default=str).replace(
            mark, "[" * 100_001 + "]" * 100_001
        )
    except ValueError:  # an integer of more digits than Python writes
        return json.dumps(_without_huge(content), default=str).replace(
            json.dumps(MARK), "1" + "0" * 5000
        )


of_json = partial(
    changed_by,
    lambda path: json.loads(path.read_text()),
    lambda path, content: path.write_text(_dumped(content), "utf-8"),
)
"""A change of what a JSON file holds."""


def _without_huge(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_huge(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_huge(value) for value in node]
    return MARK if isinstance(node, int) and node > 10**4000 else node


def json_wrong(legal: Callable[[Any, Any, Any], bool] = lambda node, key, value: False) -> Any:
    """A wrong value somewhere, except where it says something that may be."""

    def apply(content: Any, rng: np.random.Generator) -> Any:
        found = places(content)
        node, key = found[rng.integers(len(found))]
        value = wrong_value(rng, arrays=False)
        if not legal(node, key, value):
            node[key] = value

    return of_json(apply)


def json_key_lost(content: Any, rng: np.random.Generator) -> None:
    """A key of some dict."""
    found = [place for place in places(content) if isinstance(place[0], dict)]
    node, key = found[rng.integers(len(found))]
    del node[key]


_JSON = [*NO_FILE, CUT, NOISE, Mutation("behind it more", of_bytes(lambda raw, rng: raw + b"]")),
         Mutation("in UTF-16", of_bytes(lambda raw, rng: raw.decode().encode("utf-16"))),
         Mutation("a list", of_json(lambda content, rng: [content])),
         Mutation("null", of_json(lambda content, rng: 0))]  # fmt: skip


META = [
    *_JSON,
    *[Mutation("wrong value", json_wrong())] * 8,
    Mutation("another format", of_json(lambda c, rng: c.update(format=0))),
    Mutation("unknown class", of_json(lambda c, rng: c["class_map"].update(x="unicorn"))),
    Mutation("ids swapped", of_json(lambda c, rng: c["ids"].update({"1": "car"}))),
    Mutation("id lost", of_json(lambda c, rng: c["ids"].pop("3") and None)),
    Mutation("id more", of_json(lambda c, rng: c["ids"].update({"19": "x"}))),
]
COUNTS = [
    *_JSON,
    *[Mutation("wrong value", json_wrong())] * 8,
    *[Mutation("key lost", of_json(json_key_lost))] * 2,
    Mutation("another count", of_json(lambda c, rng: c["class_counts"].update(all=[1.5] * 17))),
    Mutation("other files", of_json(lambda c, rng: c.update(files="0"))),
    UNTOLD._replace(loose=False),  # everything that is used is under a digest
]  # fmt: skip


def _origin_may_be(node: Any, key: Any, value: Any) -> bool:
    """Another coordinate of a place."""
    near = isinstance(value, (int, float)) and abs(value) < 1000
    return isinstance(node, list) and near and not isinstance(node[key], list)


ORIGINS = [
    *_JSON,
    *[Mutation("wrong value", json_wrong(_origin_may_be))] * 8,
    Mutation("unknown token", of_json(lambda c, rng: c.update(zz=[[0.0, 0.0, 1.8]]))),
    Mutation("out of reach", of_json(lambda c, rng: c.update(aa=[[50.0, 0.0, 1.8]]))),
]
SPLITS = [
    *_JSON,
    *[Mutation("wrong value", json_wrong())] * 4,
    Mutation("key lost", of_json(json_key_lost)),
    Mutation("unknown scene", of_json(lambda c, rng: c["val"].append("scene-0077"))),
    Mutation("a scene twice", of_json(lambda c, rng: c["val"].append(c["train"][0]))),
]


def _audit_may_be(node: Any, key: Any, value: Any) -> bool:
    """Other names, or none."""
    names = value if isinstance(node, dict) else [value]
    return isinstance(names, list) and all(isinstance(name, (str, bytes)) for name in names)


AUDIT = [
    *(each for each in _JSON if each.name != "lost"),  # which is how a run begins
    *[Mutation("wrong value", json_wrong(_audit_may_be))] * 4,
]


# Tables
# What infos are made of. Other tables may say what they like, and the end of a chain of sweeps
# is the beginning of a scene as far as anyone can tell.
CHAINED = ("scene", "sample", "sample_data", "sensor")


def _table_may_be(node: Any, key: Any, value: Any) -> bool:
    if key == "prev" and "filename" in node:
        return not value
    numbers = isinstance(node, list) and isinstance(key, int)
    return numbers and isinstance(value, (int, float)) and abs(value) < 1e6


def _record_lost(content: Any, rng: np.random.Generator) -> None:
    del content[rng.integers(len(content))]


def _tokens_swapped(content: Any, rng: np.random.Generator) -> None:
    if len(content) > 1:
        a, b = rng.choice(len(content), 2, replace=False)
        content[a]["token"], content[b]["token"] = content[b]["token"], content[a]["token"]


TABLE = [
    *_JSON,
    *[Mutation("wrong value", json_wrong(_table_may_be))] * 12,
    *[Mutation("key lost", of_json(json_key_lost))] * 3,
]
CHAIN = [
    *TABLE,
    Mutation("record lost", of_json(_record_lost)),
    Mutation("tokens swapped", of_json(_tokens_swapped)),
]
