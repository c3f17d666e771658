"""A genuine Occ3D label, changed in known ways: the figures are predicted without the metrics."""

from pathlib import Path

import numpy as np
import pytest

from minkocc.evaluation.protocols import PROTOCOLS, Frame
from minkocc.evaluation.ray_iou import ray_directions
from minkocc.files.occupancy import read_measured_label
from minkocc.ops.first_hit import voxel_rays
from minkocc.structures.taxonomy import CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.golden import brute_force_rays

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "occ3d_label"
CAR, BUS, FREE = CLASSES.index("car"), CLASSES.index("bus"), 17
ORIGIN = np.array([[0.94, 0.0, 1.84]])  # nuScenes' LiDAR in the ego frame

CHANGES = {
    "shifted": lambda label: np.concatenate([np.full_like(label[:1], FREE), label[:-1]]),
    "front half": lambda label: np.concatenate([np.full_like(label[:100], FREE), label[100:]]),
    "cars as buses": lambda label: np.where(label == CAR, BUS, label).astype(np.uint8),
}
"""One voxel further ahead; nothing at x < 0, where the origin is not; another class."""

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the real Occ3D label is not on this machine"),
]


@pytest.fixture(scope="module")
def label():
    (path,) = FOLDER.rglob("labels.npz")
    semantics, mask, _ = read_measured_label(path)
    return semantics, mask


@pytest.fixture(scope="module")
def ray_hits(label):
    """Class, depth in metres and voxel of each ray in the label, by brute force."""
    return brute_force(label[0])


def brute_force(semantics):
    rays = voxel_rays(OCC3D_GRID, ORIGIN, ray_directions())
    parts = [np.array_split(rows, 20) for rows in rays]
    found = [brute_force_rays.first_hits(semantics < FREE, *part)[:2] for part in zip(*parts)]
    index, distance = (np.concatenate(values) for values in zip(*found))
    classes = semantics[tuple(index.T)]
    return classes, distance * 0.4, index


def measure(name, pred, label):
    protocol = PROTOCOLS[name]
    return protocol.summarise(protocol.count(Frame(pred, *label, ORIGIN)), 1)


def share(part, whole):
    return pytest.approx(100.0 * part / whole, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "paper-repo"])
def test_the_label_is_100_for_every_class_present(name, label):
    summary = measure(name, label[0], label)
    tables = [value for key, value in summary.items() if key.startswith(("iou", "pq@"))]
    assert tables
    for table in tables:
        assert {value for value in table.values() if value is not None} == {100.0}
        present = sum(value is not None for value in table.values())
        averaged = dict(summary["classes_averaged"])
        assert averaged.pop("miou_dynamic", 3) == 3  # bus, car and motorcycle
        assert set(averaged.values()) == {present - (name == "selfsup15")}  # without others


def test_paper_repo_cannot_be_100(label):
    """It takes what no camera sees as free, where the label itself is occupied."""
    semantics, mask = label
    summary = measure("paper-repo", semantics, label)
    seen = {c: int(((semantics == c) & mask).sum()) for c in range(17)}
    for c, name in enumerate(CLASSES):
        if seen[c]:
            assert summary["iou"][name] == share(seen[c], int((semantics == c).sum()))
    occupied = semantics < FREE
    assert summary["geometric_iou"] == share((occupied & mask).sum(), occupied.sum())
    as_seen = np.where(mask, semantics, FREE).astype(np.uint8)
    perfect = measure("paper-repo", as_seen, label)
    assert perfect["miou"] == perfect["rayiou"] == 100.0


def test_the_brute_force_marcher_finds_the_same_rays(label, ray_hits):
    """Rays per class, all 14,040 of them."""
    classes, _, _ = ray_hits
    counts = PROTOCOLS["rayiou"].count(Frame(label[0], *label, ORIGIN))["rays"]
    np.testing.assert_array_equal(counts[0], np.bincount(classes, minlength=18)[:17])
    assert counts[0].sum() > 8000


def test_shift_by_one_voxel(label, ray_hits):
    """Everything one voxel further ahead: sets for the voxels, the brute-force marcher for rays."""
    semantics, mask = label
    moved = CHANGES["shifted"](semantics)
    summary = measure("occ3d", moved, label)
    for c, name in enumerate(CLASSES):
        truth = set(np.flatnonzero((semantics == c) & mask))
        found = set(np.flatnonzero((moved == c) & mask))
        if truth:
            assert summary["iou"][name] == share(len(truth & found), len(truth | found))
    rays = measure("rayiou", moved, label)
    truth, truth_depth, _ = ray_hits
    found, found_depth, _ = brute_force(moved)
    for limit in (1, 2, 4):
        for c, name in enumerate(CLASSES):
            hit = truth == c
            right = hit & (found == c) & (np.abs(truth_depth - found_depth) < limit)
            predicted = (found == c) & (truth < FREE)
            if hit.any() or predicted.any():
                union = hit.sum() + predicted.sum() - right.sum()
                assert rays[f"iou@{limit}"][name] == share(right.sum(), union)


@pytest.mark.parametrize("change", ["shifted", "front half", "cars as buses"])
def test_paper_repo_by_sets(change, label):
    """Every voxel counts, and what no camera sees is free in the label."""
    semantics, mask = label
    pred = CHANGES[change](semantics)
    summary = measure("paper-repo", pred, label)
    for c, name in enumerate(CLASSES):
        truth = set(np.flatnonzero((semantics == c) & mask))
        found = set(np.flatnonzero(pred == c))
        if truth:
            assert summary["iou"][name] == share(len(truth & found), len(truth | found))


def test_cars_called_buses(label, ray_hits):
    """No ray changes its way: cars fall to 0, buses to their share of both, nothing else moves."""
    semantics, mask = label
    swapped = CHANGES["cars as buses"](semantics)
    voxels, rays = measure("occ3d", swapped, label), measure("rayiou", swapped, label)
    cars, buses = (int(((semantics == c) & mask).sum()) for c in (CAR, BUS))
    assert voxels["iou"]["car"] == 0.0
    assert voxels["iou"]["bus"] == share(buses, buses + cars)
    assert voxels["geometric_iou"] == 100.0
    classes, _, _ = ray_hits
    car_rays, bus_rays = (int((classes == c).sum()) for c in (CAR, BUS))
    for limit in (1, 2, 4):
        assert rays[f"iou@{limit}"]["car"] == 0.0
        assert rays[f"iou@{limit}"]["bus"] == share(bus_rays, bus_rays + car_rays)
    others = [name for name in CLASSES if name not in ("car", "bus")]
    assert {voxels["iou"][name] for name in others} == {rays["iou@1"][name] for name in others}
    assert {voxels["iou"][name] for name in others} == {100.0, None}
    averaged = voxels["classes_averaged"]["miou"]
    mean = (100.0 * (averaged - 2) + voxels["iou"]["bus"]) / averaged
    assert voxels["miou"] == pytest.approx(mean, abs=1e-3)


def test_nothing_predicted_behind_the_vehicle(label, ray_hits):
    """What is left is each class's share ahead: a ray that has gone behind never comes back."""
    semantics, mask = label
    emptied = CHANGES["front half"](semantics)
    voxels, rays = measure("occ3d", emptied, label), measure("rayiou", emptied, label)
    classes, _, index = ray_hits
    ahead = np.arange(200)[:, None, None] >= 100
    for c, name in enumerate(CLASSES):
        here = (semantics == c) & mask
        if here.any():
            assert voxels["iou"][name] == share((here & ahead).sum(), here.sum())
        hit = classes == c
        if hit.any():
            expected = share((hit & (index[:, 0] >= 100)).sum(), hit.sum())
            for limit in (1, 2, 4):
                assert rays[f"iou@{limit}"][name] == expected
    occupied = (semantics < FREE) & mask
    assert voxels["geometric_iou"] == share((occupied & ahead).sum(), occupied.sum())


def test_panoptic_quality_of_stuff_behind_the_vehicle(label, ray_hits):
    """One segment a class: above one half its share ahead is its quality, below it is lost."""
    semantics, _ = label
    quality = measure("raypq", CHANGES["front half"](semantics), label)
    classes, _, index = ray_hits
    for name in ("driveable_surface", "sidewalk", "terrain", "manmade", "vegetation"):
        hit = classes == CLASSES.index(name)
        ahead = int((hit & (index[:, 0] >= 100)).sum())
        assert hit.sum() >= 10
        expected = share(ahead, hit.sum()) if 2 * ahead > hit.sum() else 0.0
        for limit in (1, 2, 4):
            assert quality[f"pq@{limit}"][name] == expected


def test_panoptic_quality_of_cars_called_buses(label, ray_hits):
    semantics, _ = label
    quality = measure("raypq", CHANGES["cars as buses"](semantics), label)
    assert (ray_hits[0] == CAR).sum() >= 10
    assert quality["pq@4"]["car"] == 0.0
    assert 0.0 < quality["pq@4"]["bus"] < 100.0  # the bus is found, and cars beside it
    others = {value for name, value in quality["pq@1"].items() if name not in ("car", "bus")}
    assert others == {100.0, None}
