"""Pseudo-labels: true 2D semantics, spoilt as open-vocabulary segmenters spoil them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import NAMES_2D, NUM_IDS_2D, UNLABELLED_2D, class_id
from minkocc.synthetic.sensing.sensors import CameraFrame

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


def id_2d(name: str) -> int:
    """The 2D id of a class name."""
    return class_id(name) + 1


_STUFF = tuple(
    id_2d(n)
    for n in ("driveable_surface", "other_flat", "sidewalk", "terrain", "manmade", "vegetation")
)

# What an object is taken for, and how often.
_CONFUSIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "car": (("truck", 0.03),),
    "truck": (("car", 0.08), ("trailer", 0.06), ("bus", 0.03)),
    "bus": (("truck", 0.12),),
    "trailer": (("truck", 0.45),),
    "construction_vehicle": (("truck", 0.2), ("car", 0.05)),
    "motorcycle": (("bicycle", 0.15),),
    "bicycle": (("motorcycle", 0.1), ("pedestrian", 0.08)),
    "barrier": (("manmade", 0.2), ("traffic_cone", 0.05)),
    "traffic_cone": (("barrier", 0.1),),
    "manmade": (("barrier", 0.03),),
    "vegetation": (("terrain", 0.03),),
}

# Share of objects missed however large they are; 'others' has no prompt that works.
_MISSED = {"others": 0.85, "trailer": 0.15, "construction_vehicle": 0.12, "barrier": 0.12}
_USUALLY_MISSED = 0.04
_SHARP, _BLURRED = 20.0, 50.0  # metres to where nothing is missed for distance, and to the most

# Which ground is taken for which, in patches, and how often.
_GROUND_CONFUSIONS = (
    ("other_flat", "driveable_surface", 0.3),
    ("other_flat", "sidewalk", 0.35),
    ("sidewalk", "driveable_surface", 0.12),
    ("terrain", "vegetation", 0.12),
    ("driveable_surface", "sidewalk", 0.02),
)
_HOLES = {
    "driveable_surface": 0.06,
    "other_flat": 0.25,
    "sidewalk": 0.12,
    "terrain": 0.12,
    "manmade": 0.08,
    "vegetation": 0.06,
}


def clean(frame: CameraFrame) -> tuple[UInt8, UInt8]:
    """The true 2D semantics at full confidence; ``(H, W)`` ids and 0..255 confidence."""
    return frame.semantics, np.full(frame.semantics.shape, 255, np.uint8)


def degrade(frame: CameraFrame, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """Labels that miss, confuse and fray as Grounded-SAM's do.

    Confidence tells right from wrong on average, not in each case.

    Args:
        frame: the picture and its true semantics.
        rng: draws the failures.

    Returns:
        ``(H, W)`` 2D ids and ``(H, W)`` confidence, 255 = 1.0, 0 where unlabelled.
    """
    labels, confidence = _segments(frame, rng)
    _confuse_ground(labels, confidence, frame.semantics, rng)
    _punch_holes(labels, rng)
    labels, confidence = _fray(labels, confidence, rng)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    confidence = confidence - 0.15 * edge + 0.04 * _field(labels.shape, 12, rng)
    scores = np.clip(np.round(255 * confidence), 20, 255).astype(np.uint8)
    scores[labels == UNLABELLED_2D] = 0
    return labels, scores


def _segments(frame: CameraFrame, rng: np.random.Generator) -> tuple[UInt8, Float32]:
    """Miss and confuse whole objects; per-pixel labels and confidence."""
    kinds = NUM_IDS_2D
    key = (frame.owner.astype(np.int64) + 1) * kinds + frame.semantics
    pixels = np.bincount(key.reshape(-1))
    metres = np.where(np.isfinite(frame.distance), frame.distance, 0.0).reshape(-1)
    away = np.bincount(key.reshape(-1), metres) / np.maximum(pixels, 1)
    label_of = np.zeros(len(pixels), np.uint8)
    score_of = np.zeros(len(pixels), np.float32)
    # A fixed number of draws per object keeps objects independent of each other.
    draws = rng.random((len(pixels), 3))
    whole = frame.semantics.size / 360_000
    for segment in np.flatnonzero(pixels):
        truth = int(segment % kinds)
        if segment >= kinds:
            area, distance = pixels[segment] / whole, float(away[segment])
            label, score = _judge(truth, area, distance, draws[segment])
        else:
            label, score = truth, 0.62 + 0.25 * draws[segment, 2]
        label_of[segment], score_of[segment] = label, score
    return label_of[key], score_of[key]


def _judge(
    truth: int, area: float, distance: float, draw: npt.NDArray[np.float64]
) -> tuple[int, float]:
    """What one object is taken for, and how surely; the small and the far are missed more often.

    Args:
        truth: 2D id.
        area: in pixels of an 800x450 image.
        distance: metres.
        draw: ``(3,)`` uniform numbers.
    """
    small = float(np.exp(-area / 130.0))
    far = float(np.clip((distance - _SHARP) / _BLURRED, 0.0, 1.0))
    name = NAMES_2D[truth]
    missed = _MISSED.get(name, _USUALLY_MISSED)
    missed += (1 - missed) * (0.6 if truth not in _STUFF else 0.3) * small
    missed += (1 - missed) * (0.4 if truth not in _STUFF else 0.1) * far
    if draw[0] < missed:
        return UNLABELLED_2D, 0.0
    threshold = 0.0
    for other, share in _CONFUSIONS.get(name, ()):
        threshold += share
        if draw[1] < threshold:
            return id_2d(other), 0.3 + 0.35 * draw[2]
    return truth, 0.42 + 0.45 * draw[2] - 0.15 * small - 0.1 * far


def _field(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> Float32:
    """Smooth noise over an image, standard deviation about 1, ``cells`` bumps across."""
    rows = max(2, round(cells * shape[0] / shape[1]))
    coarse = rng.standard_normal((rows, cells), np.float32) * np.float32(1.3)
    large = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return large.astype(np.float32, copy=False)


def _quantile(share: float) -> float:
    """The normal quantile above which ``share`` of ``_field`` lies, roughly."""
    return float(np.sqrt(2) * _erfinv(1 - 2 * share))


def _erfinv(x: float) -> float:
    """Winitzki's approximation of the inverse error function."""
    log = np.log(max(1 - x * x, 1e-12))
    first = 2 / (np.pi * 0.147) + log / 2
    return float(np.sign(x) * np.sqrt(np.sqrt(first * first - log / 0.147) - first))


def _confuse_ground(
    labels: UInt8, confidence: Float32, truth: UInt8, rng: np.random.Generator
) -> None:
    """Patches of ground taken for other ground, in place."""
    for name, other, share in _GROUND_CONFUSIONS:
        patch = _field(labels.shape, 6, rng) > _quantile(share)
        wrong = patch & (truth == id_2d(name)) & (labels == id_2d(name))
        labels[wrong] = id_2d(other)
        confidence[wrong] *= 0.75


def _punch_holes(labels: UInt8, rng: np.random.Generator) -> None:
    """Unlabelled patches in large surfaces, in place."""
    for name, share in _HOLES.items():
        patch = _field(labels.shape, 14, rng) > _quantile(share)
        labels[patch & (labels == id_2d(name))] = UNLABELLED_2D


def _fray(labels: UInt8, confidence: Float32, rng: np.random.Generator) -> tuple[UInt8, Float32]:
    """Borders moved by a few pixels, by a smooth displacement of the whole image."""
    height, width = labels.shape
    reach = 2.2 * width / 800
    v, u = np.indices((height, width), np.float32)
    for cells in (24, 90):
        u += np.float32(reach / 1.5) * _field(labels.shape, cells, rng)
        v += np.float32(reach / 1.5) * _field(labels.shape, cells, rng)

    def warp(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(cv2.remap(image, u, v, cv2.INTER_NEAREST, None, cv2.BORDER_REPLICATE))

    return warp(labels), warp(confidence)
