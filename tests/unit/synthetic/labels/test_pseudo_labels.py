"""Degraded pseudo-labels are wrong in the ways asked for, and not beyond use."""

from __future__ import annotations

import numpy as np
import pytest

from minkocc.structures.taxonomy import SKY_2D, UNLABELLED_2D
from minkocc.synthetic.labels import pseudo_labels
from minkocc.synthetic.labels.pseudo_labels import clean, degrade, id_2d
from minkocc.synthetic.sensing.sensors import CameraFrame


def street(
    objects: list[tuple[str, int]], size: tuple[int, int] = (800, 450), distance: float = 10.0
) -> CameraFrame:
    """Sky over road, and objects of a class and edge length in pixels, side by side."""
    width, height = size
    semantics = np.full((height, width), SKY_2D, np.uint8)
    semantics[height // 2 :] = id_2d("driveable_surface")
    owner = np.full((height, width), -1, np.int32)
    left = 4
    for number, (name, edge) in enumerate(objects):
        semantics[200 : 200 + edge, left : left + edge] = id_2d(name)
        owner[200 : 200 + edge, left : left + edge] = number
        left += edge + 4
    image = np.zeros((height, width, 3), np.uint8)
    return CameraFrame(image, semantics, owner, np.full((height, width), distance, np.float32))


def share_kept(name: str, edge: int, distance: float = 10.0) -> float:
    """Share of an object's pixels that keep their label, over many draws."""
    frame = street([(name, edge)] * 8, distance=distance)
    shares = []
    for seed in range(12):
        labels, _ = degrade(frame, np.random.default_rng(seed))
        true = frame.semantics == id_2d(name)
        shares.append((labels[true] == id_2d(name)).mean())
    return float(np.mean(shares))


def test_clean_labels_are_the_truth() -> None:
    frame = street([("car", 60)])
    labels, confidence = clean(frame)
    np.testing.assert_array_equal(labels, frame.semantics)
    assert (confidence == 255).all()


def test_small_objects_are_missed_more_often() -> None:
    small, large = share_kept("car", 8), share_kept("car", 80)
    assert small < 0.75 < large


def test_far_objects_are_missed_more_often() -> None:
    near, far = share_kept("car", 40, 10.0), share_kept("car", 40, 80.0)
    assert far < near - 0.2
    assert near > 0.8


def test_others_are_mostly_unlabelled() -> None:
    assert share_kept("others", 80) < 0.3


def test_confidence_is_informative_but_noisy() -> None:
    frame = street([("truck", 70)] * 6 + [("trailer", 70)] * 4)
    right, wrong = [], []
    for seed in range(20):
        labels, confidence = degrade(frame, np.random.default_rng(seed))
        labelled = (labels != UNLABELLED_2D) & (frame.owner >= 0)
        true = labels == frame.semantics
        right.append(confidence[labelled & true])
        wrong.append(confidence[labelled & ~true])
        assert (confidence[labels == UNLABELLED_2D] == 0).all()
        assert (confidence[labels != UNLABELLED_2D] > 0).all()
    good, bad = np.concatenate(right), np.concatenate(wrong)
    assert good.mean() > bad.mean() + 20
    assert np.percentile(good, 10) < np.percentile(bad, 90)


def test_large_surfaces_have_holes_and_ragged_borders() -> None:
    frame = street([("car", 80)])
    labels, _ = degrade(frame, np.random.default_rng(0))
    road = frame.semantics == id_2d("driveable_surface")
    holes = (labels[road] == UNLABELLED_2D).mean()
    assert 0.005 < holes < 0.2
    assert (labels != frame.semantics)[220:230].any()


def ground(name: str) -> CameraFrame:
    """One kind of ground below the sky."""
    semantics = np.full((450, 800), SKY_2D, np.uint8)
    semantics[150:] = id_2d(name)
    shape = semantics.shape
    image = np.zeros((*shape, 3), np.uint8)
    return CameraFrame(image, semantics, np.full(shape, -1), np.full(shape, 10.0, np.float32))


@pytest.mark.parametrize(
    ("name", "holes"), [("driveable_surface", 0.06), ("sidewalk", 0.12), ("terrain", 0.12)]
)
def test_ground_has_holes(name: str, holes: float) -> None:
    frame = ground(name)
    shares = []
    for seed in range(10):
        labels, _ = degrade(frame, np.random.default_rng(seed))
        shares.append((labels[160:] == UNLABELLED_2D).mean())
    assert np.mean(shares) == pytest.approx(holes, abs=0.05)
    assert np.mean(shares) > 0.02


def test_sidewalk_is_taken_for_road_in_patches() -> None:
    frame = ground("sidewalk")
    shares = [
        (degrade(frame, np.random.default_rng(seed))[0] == id_2d("driveable_surface"))[160:].mean()
        for seed in range(20)
    ]
    assert 0.03 < np.mean(shares) < 0.25


def test_borders_are_ragged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_labels, "_HOLES", {})
    labels, _ = degrade(ground("driveable_surface"), np.random.default_rng(0))
    horizon = (labels == SKY_2D).sum(0)  # a straight line at row 150 in truth
    assert 0.5 < horizon.std() < 5
    assert abs(horizon.mean() - 150) < 2


@pytest.mark.parametrize("size", [(64, 36), (320, 180)])
def test_any_image_size(size: tuple[int, int]) -> None:
    frame = street([], size)
    labels, confidence = degrade(frame, np.random.default_rng(0))
    assert labels.shape == confidence.shape == (size[1], size[0])
    assert labels.dtype == confidence.dtype == np.uint8
