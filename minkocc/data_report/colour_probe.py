"""How much a pixel's colour alone says about its class.

A logistic regression from standardised RGB to 2D class, fitted on some scenes and tested on others.
Where it does much better than a constant answer, a model can learn colours instead of shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from minkocc.structures.taxonomy import NAMES_2D, SKY_2D, UNLABELLED_2D

_SALT = 0xC0102


@dataclass(frozen=True)
class Pixels:
    """Labelled pixels: ``rgb`` ``(P, 3)`` uint8 and ``ids`` ``(P,)`` uint8, 2D ids without 0."""

    rgb: NDArray[np.uint8]
    ids: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: Sequence[Pixels]) -> Pixels:
        """All pixels of at least one part."""
        return cls(
            np.concatenate([part.rgb for part in parts]),
            np.concatenate([part.ids for part in parts]),
        )

    def without_sky(self) -> Pixels:
        """Those that are not sky."""
        return Pixels(self.rgb[self.ids != SKY_2D], self.ids[self.ids != SKY_2D])


def draw_pixels(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    number: int,
    rng: np.random.Generator,
) -> Pixels:
    """Pixels drawn uniformly, with return, less those without a label.

    Args:
        images: ``(..., H, W, 3)``.
        labels: ``(..., H, W)`` 2D ids.
        number: how many to draw.
        rng: draws them.
    """
    place = rng.integers(0, labels.size, number)
    ids = labels.reshape(-1)[place]
    known = ids != UNLABELLED_2D
    return Pixels(images.reshape(-1, 3)[place][known], ids[known])


def split_of_scenes(scenes: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """A seeded half of the distinct scenes to fit on and the rest to test on.

    Raises:
        ValueError: there are fewer than two scenes.
    """
    names = sorted(set(scenes))
    if len(names) < 2:
        raise ValueError(f"{len(names)} scenes cannot be split: the probe needs 2 or more")
    order = [names[i] for i in np.random.default_rng([seed, _SALT]).permutation(len(names))]
    half = len(names) // 2
    return sorted(order[half:]), sorted(order[:half])


def colour_probe(train: Pixels, test: Pixels) -> dict[str, Any] | None:
    """What colour gives away, with sky as a class and with sky left out on both sides.

    Args:
        train: pixels to fit on.
        test: pixels of other scenes.

    Returns:
        ``with_sky`` and ``without_sky``, JSON-ready, or None where the pixels to fit on are of one
        class or there is none to test on. Each holds the numbers of pixels; ``accuracy`` over the
        pixels of unknown scenes; ``familiar_accuracy``, between two halves of all pixels, so that
        every scene's light is known; ``majority_share``, what the most frequent class as a constant
        answer reaches; ``balanced_accuracy``, the mean recall of a fit that weighs classes alike;
        ``chance``, what a constant answer reaches there; and per class its share of the tested
        pixels and its recall under either fit.
    """
    with_sky, without_sky = _probe(train, test), _probe(train.without_sky(), test.without_sky())
    if with_sky is None or without_sky is None:
        return None
    return {"with_sky": with_sky, "without_sky": without_sky}


def _probe(train: Pixels, test: Pixels) -> dict[str, Any] | None:
    if not test.ids.size or len(np.unique(train.ids)) < 2:
        return None
    whole = Pixels.joined([train, test])
    familiar = _fit(Pixels(whole.rgb[::2], whole.ids[::2]), None).predict(whole.rgb[1::2])
    plain, balanced = (_fit(train, weight).predict(test.rgb) for weight in (None, "balanced"))
    present, counts = np.unique(test.ids, return_counts=True)
    classes = {}
    for index, count in zip(present, counts):
        of_class = test.ids == index
        classes[NAMES_2D[index]] = {
            "share": float(count / test.ids.size),
            "recall": float((plain[of_class] == index).mean()),
            "balanced_recall": float((balanced[of_class] == index).mean()),
        }
    return {
        "train_pixels": int(train.ids.size),
        "test_pixels": int(test.ids.size),
        "accuracy": float((plain == test.ids).mean()),
        "familiar_accuracy": float((familiar == whole.ids[1::2]).mean()),
        "majority_share": float(counts.max() / test.ids.size),
        "balanced_accuracy": float(np.mean([c["balanced_recall"] for c in classes.values()])),
        "chance": 1 / len(present),
        "classes": classes,
    }


def _fit(pixels: Pixels, class_weight: str | None) -> Any:
    model = make_pipeline(
        StandardScaler(),
        # Four weights a class: its Hessian is small, and it needs ten steps where lbfgs needs 200.
        LogisticRegression(class_weight=class_weight, solver="newton-cholesky"),
    )
    return model.fit(pixels.rgb.astype(np.float64), pixels.ids)
