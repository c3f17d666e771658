"""Damage to info files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minkocc.structures.taxonomy import CAMERAS
from tests.e2e.mutations.any_file import (
    CUT,
    LONGER,
    NO_FILE,
    NOISE,
    UNTOLD,
    Mutation,
    changed_by,
)
from tests.e2e.mutations.values import MARK, places, put_one, shallow, wrong_value


def _pickled(content: Any) -> bytes:
    """A pickle, by hand where it nests too deeply for the pickler: an attacker does not ask it."""
    try:
        return pickle.dumps(content, protocol=4)
    except RecursionError:
        marked = pickle.dumps(shallow(content), protocol=4)
        mark = b"\x8c" + bytes([len(MARK)]) + MARK.encode()
        assert mark in marked
        return marked.replace(mark, b"]" * 100_001 + b"a" * 100_000)


of_infos = partial(
    changed_by,
    lambda path: pickle.loads(path.read_bytes()),
    lambda path, content: path.write_bytes(_pickled(content)),
)
"""A change of what an info file holds."""


def _frame(content: Any, rng: np.random.Generator) -> dict[str, Any]:
    frames = content["data_list"]
    return frames[rng.integers(len(frames))]


def _lose_key(content: Any, rng: np.random.Generator) -> None:
    found = [place for place in places(_frame(content, rng)) if isinstance(place[0], dict)]
    node, key = found[rng.integers(len(found))]
    del node[key]


_FEWER = {"lidar_sweeps": [], "occ_path": None}
"""What says no more than that there is less."""


def _wrong_node(content: Any, rng: np.random.Generator) -> None:
    """Wrong in a frame, mostly; the order of frames and the rest of the file now and then."""
    tree = content if rng.random() < 0.15 else _frame(content, rng)
    found = places(tree)
    node, key = found[rng.integers(len(found))]
    value = wrong_value(rng, arrays=True)
    if key in _FEWER and type(value) is type(_FEWER[key]) and not value:
        value = 7
    node[key] = value


def _matrices(frame: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    return [
        (node, key)
        for node, key in places(frame)
        if isinstance(node[key], np.ndarray) and node[key].shape in ((3, 3), (4, 4))
    ]


MATRIX_CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
    "zeros": lambda m, rng: np.zeros_like(m),
    "twice": lambda m, rng: 2 * m,
    "mirrored": lambda m, rng: np.diag([-1.0, *[1.0] * (len(m) - 1)]) @ m,
    "a NaN": lambda m, rng: put_one(m, np.nan, rng),
    "an infinity": lambda m, rng: put_one(m, np.inf, rng),
    "a huge number": lambda m, rng: put_one(m, 1e30, rng),
    "a large number": lambda m, rng: put_one(m, -1e7, rng),
    "in columns": lambda m, rng: np.asfortranarray(m),
    "transposed": lambda m, rng: m.T.copy(),
    "three rows": lambda m, rng: m[:-1],
    "flat": lambda m, rng: m.reshape(-1),
    "float16": lambda m, rng: m.astype(np.float16),
    "float32": lambda m, rng: m.astype(np.float32),
    "whole numbers": lambda m, rng: m.astype(np.int64),
    "complex": lambda m, rng: m.astype(complex),
    "objects": lambda m, rng: m.astype(object),
    "text": lambda m, rng: m.astype(str),
    "a list": lambda m, rng: m.tolist(),
    "a masked list": lambda m, rng: [*m.tolist()[:-1], None],
}


def _matrix(change: Callable[[np.ndarray, np.random.Generator], Any]) -> Callable[..., None]:
    def apply(content: Any, rng: np.random.Generator) -> None:
        found = _matrices(_frame(content, rng))
        node, key = found[rng.integers(len(found))]
        node[key] = change(node[key], rng)

    return of_infos(apply)


def _swap(*trail: Any) -> Callable[..., None]:
    """The same place of the first two frames."""

    def apply(content: Any, rng: np.random.Generator) -> None:
        nodes = list(content["data_list"][:2])
        for key in trail[:-1]:
            nodes = [node[key] for node in nodes]
        first, second = nodes
        first[trail[-1]], second[trail[-1]] = second[trail[-1]], first[trail[-1]]

    return of_infos(apply)


def _swap_cameras(content: Any, rng: np.random.Generator) -> None:
    images = _frame(content, rng)["images"]
    a, b = rng.choice(CAMERAS, 2, replace=False)
    images[a]["img_path"], images[b]["img_path"] = images[b]["img_path"], images[a]["img_path"]


def _same_sweep(content: Any, rng: np.random.Generator) -> None:
    sweeps = content["data_list"][1]["lidar_sweeps"]
    sweeps[0]["lidar_path"] = sweeps[1]["lidar_path"]


def _of_frame(change: Callable[[dict[str, Any], np.random.Generator], None]) -> Callable[..., None]:
    return of_infos(lambda content, rng: change(_frame(content, rng), rng))


def _microseconds(frame: dict[str, Any], rng: np.random.Generator) -> None:
    for node, key in places(frame):
        if key == "timestamp":
            node[key] *= 1e6


def _more_sweeps(content: Any, rng: np.random.Generator) -> None:
    sweeps = content["data_list"][1]["lidar_sweeps"]
    for number in range(1, 12):
        sweeps.append({**sweeps[-1], "timestamp": sweeps[-1]["timestamp"] - 0.05 * number})
        sweeps[-1]["lidar_path"] += f".{number}"


_STEPS = (
    "points imgs voxel_semantics mask_camera weak_occupancy img_semantics img_confidence ego_aug "
    "lattice lift_point img_aug raw_size cam2img phase rng label_reader data_root note"
).split()


def _key_more(frame: dict[str, Any], rng: np.random.Generator) -> None:
    """Also under the names of what the steps of a pipeline write: a label that nobody gave."""
    frame[_STEPS[rng.integers(len(_STEPS))]] = np.zeros((200, 200, 16), np.uint8)


INFOS = [
    *NO_FILE,
    CUT,
    LONGER,
    NOISE,
    *[Mutation("key lost", of_infos(_lose_key))] * 4,
    *[Mutation("wrong value", of_infos(_wrong_node))] * 24,
    *(Mutation(f"matrix: {name}", _matrix(change)) for name, change in MATRIX_CHANGES.items()),
    Mutation("tokens swapped", _swap("token")),
    Mutation("scenes swapped", _of_frame(lambda f, rng: f.update(scene_name="scene-0009"))),
    Mutation("labels swapped", _swap("occ_path")),
    Mutation("sweeps of another frame", _swap("lidar_points", "lidar_path")),
    Mutation("poses swapped", _swap("ego2global")),
    Mutation("origins swapped", _swap("ray_origins")),
    Mutation("times swapped", _swap("timestamp")),
    Mutation("sweep times swapped", _swap("lidar_points", "timestamp")),
    Mutation("links swapped", _swap("next")),
    Mutation("cameras swapped", of_infos(_swap_cameras)),
    Mutation("one sweep twice", of_infos(_same_sweep)),
    Mutation("a mount inverted", _of_frame(lambda f, rng: f["lidar_points"].update(
        lidar2ego=np.linalg.inv(f["lidar_points"]["lidar2ego"])))),
    Mutation("sweeps reversed", _of_frame(lambda f, rng: f["lidar_sweeps"].reverse())),
    Mutation("more sweeps", of_infos(_more_sweeps)),
    Mutation("microseconds", _of_frame(_microseconds)),
    Mutation("later", _of_frame(lambda f, rng: f.update(timestamp=f["timestamp"] + 1e4))),
    Mutation("origins fewer", _of_frame(lambda f, rng: f.update(ray_origins=f["ray_origins"][:1]))),
    Mutation("origins moved", _of_frame(lambda f, rng: f.update(ray_origins=f["ray_origins"] + 3))),
    Mutation("a frame twice", of_infos(lambda c, rng: c["data_list"].append(_frame(c, rng)))),
    *[Mutation("a key more", _of_frame(_key_more))] * 3,
    Mutation("another version", of_infos(lambda c, rng: c["metainfo"].update(info_version="0"))),
    Mutation("other classes", of_infos(lambda c, rng: c["metainfo"]["classes"].reverse())),
    *[UNTOLD] * 3,
]  # fmt: skip
