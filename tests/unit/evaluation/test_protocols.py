"""What each protocol counts and averages, on scenes worked by hand."""

import numpy as np
import pytest

from minkocc.evaluation import protocols
from minkocc.evaluation.protocols import PROTOCOLS, Frame, add_counts, protocol_named
from minkocc.evaluation.voxel_iou import RINGS, ring_of_voxels
from minkocc.structures.taxonomy import CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, ROAD, SIDEWALK, FREE = 4, 11, 13, 17


def scene():
    """A road, a car in front, a car that no camera sees, and a wall in a corner of the grid."""
    label = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    label[:, 90:110, 1] = ROAD
    label[120:130, 95:100, 2:5] = CAR
    label[60:70, 95:100, 2:5] = CAR
    label[:4, :4, 5] = 15
    mask = np.ones(OCC3D_GRID.shape, bool)
    mask[50:80] = False
    return label, mask


def measure(name, pred, label, mask, **more):
    frame = Frame(pred, label, mask, np.array([[0.9, 0.0, 1.8]]), **more)
    protocol = protocol_named(name)
    return protocol.summarise(protocol.count(frame), 1)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "paper-repo"])
def test_the_label_itself_is_100(name):
    label, mask = scene()
    summary = measure(name, label, label, mask)
    assert summary["protocol"] == name
    headline = {"rayiou": "rayiou", "raypq": "raypq"}.get(name, "miou")
    assert summary[headline] == 100.0
    assert summary["num_frames"] == 1


def test_paper_repo_counts_the_unseen_as_wrong():
    label, mask = scene()
    seen = np.where(mask, label, FREE).astype(np.uint8)
    assert measure("paper-repo", seen, label, mask)["miou"] == 100.0
    assert measure("paper-repo", seen, label, mask)["rayiou"] == 100.0
    whole = measure("paper-repo", label, label, mask)
    assert whole["iou"]["car"] == 50.0  # the other car is not seen, so it is not there
    assert whole["iou"]["driveable_surface"] == 85.0  # 170 of 200 rows
    assert whole["iou@1"]["car"] < 100.0
    assert whole["num_voxels"] == label.size
    assert whole["classes_averaged"]["miou"] == whole["classes_averaged"]["rayiou@4"] == 3


def test_paper_repo_without_origins_measures_voxels():
    label, mask = scene()
    protocol = PROTOCOLS["paper-repo"]
    summary = protocol.summarise(protocol.count(Frame(label, label, mask)), 1)
    assert summary["iou"]["car"] == 50.0
    assert "rayiou" not in summary


def test_occ3d_looks_at_the_mask_only():
    label, mask = scene()
    pred = np.where(mask, label, ROAD).astype(np.uint8)
    assert measure("occ3d", pred, label, mask)["miou"] == 100.0
    assert measure("occ3d", pred, label, mask)["num_voxels"] == mask.sum()


def test_dynamic_classes_and_geometry():
    label, mask = scene()
    pred = label.copy()
    pred[label == ROAD] = SIDEWALK  # the right place, the wrong class
    pred[125:130, 95:100, 2:5] = FREE
    summary = measure("occ3d", pred, label, mask)
    assert summary["iou"]["driveable_surface"] == 0.0
    assert summary["iou"]["sidewalk"] is None  # predicted, but in no label: in no mean
    assert summary["miou_dynamic"] == summary["iou"]["car"] == 50.0
    assert summary["classes_averaged"] == {"miou": 3, "miou_dynamic": 1}
    occupied = int(((label < FREE) & mask).sum())
    assert summary["geometric_iou"] == round(100 * (occupied - 75) / occupied, 4)


def test_precision_recall_and_voxels_predicted_by_hand():
    """Two frames: road found, a car of 150 missed, 60 invented in the mask, 75 outside of it."""
    label, mask = scene()
    pred = label.copy()
    pred[label == CAR] = FREE
    pred[150:160, 150:156, 9] = CAR
    pred[60:75, 95:100, 9] = CAR
    protocol = PROTOCOLS["occ3d"]
    counts = [protocol.count(Frame(p, label, mask)) for p in (pred, label)]
    assert [c["predicted_outside"].tolist() for c in counts] == [[600 + 75], [600 + 150]]
    summary = protocol.summarise(add_counts(counts), 2)
    occupied = 170 * 20 + 150 + 16  # road, car in front, wall
    right = 2 * occupied - 150
    assert summary["geometric_precision"] == round(100 * right / (right + 60), 4)
    assert summary["geometric_recall"] == round(100 * right / (2 * occupied), 4)
    assert summary["geometric_iou"] == round(100 * right / (2 * occupied + 60), 4)
    assert summary["voxels_inside"] == (right + 60) / 2
    assert summary["voxels_outside"] == (675 + 750) / 2
    ring = summary["rings"]["over 40 m"]
    assert ring["geometric_precision"] == ring["geometric_recall"] == 100.0


def test_precision_and_recall_of_paper_repo_are_over_all_voxels():
    label, mask = scene()
    summary = measure("paper-repo", label, label, mask)
    seen, occupied = ((label < FREE) & mask).sum(), (label < FREE).sum()
    assert summary["geometric_precision"] == round(100 * seen / occupied, 4)
    assert summary["geometric_recall"] == 100.0
    assert "voxels_outside" not in summary


def test_selfsup15_leaves_two_classes_out_of_the_mean_alone():
    label, mask = scene()
    label[100, 100, 8:10] = (0, 12)
    pred = label.copy()
    pred[100, 100, 8:10] = FREE
    strict, lenient = (measure(name, pred, label, mask) for name in ("occ3d", "selfsup15"))
    assert strict["miou"] == 60.0  # 3 of 5 classes
    assert lenient["miou"] == 100.0
    assert lenient["iou"]["others"] == 0.0
    averaged = [summary["classes_averaged"]["miou"] for summary in (strict, lenient)]
    assert averaged == [5, 3]
    ring = lenient["rings"]["0-20 m"]
    assert ring["iou"]["others"] == 0.0
    assert ring["miou"] == 100.0


def test_rings_by_hand():
    ring = ring_of_voxels(OCC3D_GRID)
    # Centres along y = 0.2: x = 19.8 lies 19.801 m away, x = 20.2 20.201 m; a corner 56.3 m.
    assert ring[149, 100, 0] == 0
    assert ring[150, 100, 15] == 1
    assert ring[199, 100, 0] == 1
    assert ring[0, 0, 0] == ring[199, 199, 15] == 2
    assert ring[115, 147, 0] == 0  # 19.986 m away, 20.002 with its height
    share = np.bincount(ring.ravel()) / ring.size
    circle = np.pi / 16  # of the 80 m square
    np.testing.assert_allclose(share, [circle, 3 * circle, 1 - 4 * circle], atol=1e-3)


def test_rings_add_up_and_stand_alone():
    label, mask = scene()
    pred = label.copy()
    pred[label == 15] = FREE  # the corner
    summary = measure("occ3d", pred, label, mask)
    assert list(summary["rings"]) == list(RINGS)
    assert summary["rings"]["over 40 m"]["miou"] == 0.0
    assert summary["rings"]["over 40 m"]["iou"]["car"] is None
    assert summary["rings"]["0-20 m"]["miou"] == 100.0
    assert summary["rings"]["0-20 m"]["classes_averaged"] == {"miou": 2}


def test_every_dynamic_class_is_in_its_mean():
    """A voxel of each class; those of mIoU_D are found, the others missed, and the reverse."""
    names = "bicycle bus car construction_vehicle motorcycle pedestrian trailer truck".split()
    label = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    label[100, 100:117, 3] = np.arange(17)
    mask = np.ones(label.shape, bool)
    dynamic = np.isin(label, [CLASSES.index(name) for name in names])
    found = measure("occ3d", np.where(dynamic, label, FREE).astype(np.uint8), label, mask)
    missed = measure("occ3d", np.where(dynamic, FREE, label).astype(np.uint8), label, mask)
    assert (found["miou_dynamic"], found["miou"]) == (100.0, round(100 * 8 / 17, 4))
    assert (missed["miou_dynamic"], missed["miou"]) == (0.0, round(100 * 9 / 17, 4))
    assert found["classes_averaged"] == {"miou": 17, "miou_dynamic": 8}
    for name in names:
        one = np.where(label == CLASSES.index(name), label, FREE).astype(np.uint8)
        assert measure("occ3d", one, label, mask)["miou_dynamic"] == 12.5


def test_thresholds_and_their_mean():
    """A wall moved 1.2 m back is right at 2 and 4 m, one moved 2.8 m at 4 m alone."""
    label = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    mask = np.ones(label.shape, bool)
    label[150, 80:120] = 15
    for back, right in ((3, (0, 1, 1)), (7, (0, 0, 1))):
        pred = np.roll(label, back, axis=0)
        for name, of_class in (("rayiou", "iou"), ("raypq", "pq")):
            summary = measure(name, pred, label, mask)
            for t, expected in zip((1, 2, 4), right):
                assert (summary[f"{name}@{t}"] > 60) == expected
                assert summary[f"{of_class}@{t}"]["manmade"] == summary[f"{name}@{t}"]
            mean = np.mean([summary[f"{name}@{t}"] for t in (1, 2, 4)])
            assert summary[name] == pytest.approx(mean, abs=1e-3)


def test_the_mean_of_raypq_is_over_all_that_is_defined():
    """As published: three thresholds with 2, 1 and 1 classes are a mean of four."""
    counts = np.zeros((3, 17, 4), np.int64)
    counts[:, ROAD] = (1, 0, 0, 2**32)
    counts[0, CAR] = (0, 1, 1, 0)
    summary = PROTOCOLS["raypq"].summarise(
        {"segments": counts, "instances_given": np.zeros(2, np.int64)}, 1
    )
    assert summary["raypq"] == 75.0
    assert [summary[f"raypq@{t}"] for t in (1, 2, 4)] == [50.0, 100.0, 100.0]
    assert summary["classes_averaged"] == {"raypq@1": 2, "raypq@2": 1, "raypq@4": 1}


def test_rays_are_counted_in_the_label():
    label, mask = scene()
    empty = np.full_like(label, FREE)
    assert measure("rayiou", empty, label, mask)["num_rays"] > 0
    assert measure("rayiou", label, empty, mask)["num_rays"] == 0


def test_rayiou_needs_origins():
    label, mask = scene()
    with pytest.raises(ValueError, match="needs the frame's ray origins"):
        PROTOCOLS["rayiou"].count(Frame(label, label, mask))


def test_rays_are_cast_once_a_frame(monkeypatch):
    label, mask = scene()
    frame = Frame(label, label, mask, np.array([[0.9, 0.0, 1.8]]))
    PROTOCOLS["rayiou"].count(frame)
    monkeypatch.setattr(protocols, "hits_of_frame", lambda *_: pytest.fail("cast again"))
    PROTOCOLS["raypq"].count(frame)


def test_raypq_says_where_instances_came_from():
    label, mask = scene()
    given = np.zeros(label.shape, np.uint16)
    summary = measure("raypq", label, label, mask, instances=given, pred_instances=given)
    assert summary["frames_with_instance_ids"] == {"prediction": 1, "label": 1}
    summary = measure("raypq", label, label, mask, pred_instances=given)
    assert summary["frames_with_instance_ids"] == {"prediction": 1, "label": 0}
    summary = measure("raypq", label, label, mask)
    assert summary["frames_with_instance_ids"] == {"prediction": 0, "label": 0}
    assert "instance ids are given in 0 of 1 predictions and 0 of 1 labels" in summary["notes"][0]


def test_given_instances_are_used_on_their_own_side():
    """Two cars that touch: one component, told apart by ids where there are some."""
    label, mask = scene()
    ids = np.zeros(label.shape, np.uint16)
    ids[120:130, 95:98, 2:5], ids[120:130, 98:100, 2:5] = 1, 2
    ids[60:70, 95:100, 2:5] = 3
    both = measure("raypq", label, label, mask, instances=ids, pred_instances=ids)
    assert both["pq@1"]["car"] == 100.0
    joined = measure("raypq", label, label, mask, instances=ids)
    split = measure("raypq", label, label, mask, pred_instances=ids)
    # Either way one of two cars in front is matched by the larger part, if at all; a label's
    # smaller car is missed, a prediction's is wrong.
    assert joined["pq@1"]["car"] == split["pq@1"]["car"] < 100.0
    pred = label.copy()
    pred[120:130, 95:100, 2:5] = FREE
    found = PROTOCOLS["raypq"].count(Frame(pred, label, mask, np.array([[0.9, 0.0, 1.8]])))
    right, wrong, missed, _ = found["segments"][0, CAR]
    assert (right, wrong, missed) == (1, 0, 1)  # components of the prediction are its own


def test_connected_instances_are_those_of_each_side():
    """A car of the label that the prediction breaks in three, and the other way round."""
    whole = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    whole[120, 88:112, 1:8] = CAR
    broken = whole.copy()
    broken[120, [96, 103]] = FREE
    mask, origin = np.ones(whole.shape, bool), np.array([[0.9, 0.0, 1.8]])
    for pred, label, expected in ((broken, whole, (0, 3, 1)), (whole, broken, (0, 1, 3))):
        segments = PROTOCOLS["raypq"].count(Frame(pred, label, mask, origin))["segments"]
        assert tuple(segments[0, CAR, :3]) == expected


def test_every_mean_says_how_many_classes_it_is_made_of():
    label, mask = scene()
    pred = label.copy()
    pred[label == 15] = FREE
    summary = measure("raypq", pred, label, mask)
    assert summary["classes_averaged"].keys() == {"raypq@1", "raypq@2", "raypq@4"}
    for t in (1, 2, 4):
        defined = [value for value in summary[f"pq@{t}"].values() if value is not None]
        assert summary["classes_averaged"][f"raypq@{t}"] == len(defined)
        assert summary[f"raypq@{t}"] == pytest.approx(np.mean(defined), abs=1e-3)


def test_rays_cross_the_mask():
    """RayIoU knows no mask: a wrong voxel that no camera sees is hit by rays all the same."""
    label, mask = scene()
    pred = label.copy()
    pred[60:70, 95:100, 2:5] = SIDEWALK
    assert measure("occ3d", pred, label, mask)["miou"] == 100.0
    summary = measure("rayiou", pred, label, mask)
    assert summary["iou@4"]["sidewalk"] == 0.0
    assert 0.0 < summary["iou@4"]["car"] < 100.0


def test_counts_add_up_by_name():
    one = {"a": np.array([1, 2]), "b": np.array([3])}
    total = add_counts([one, one, one])
    assert {name: values.tolist() for name, values in total.items()} == {"a": [3, 6], "b": [9]}
    assert one["a"].tolist() == [1, 2]
    assert add_counts([]) == {}
    with pytest.raises(ValueError, match="give ray origins for all frames or for none"):
        add_counts([one, {"a": np.array([1, 2])}])


def test_unknown_protocols_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"'occ'.*{', '.join(PROTOCOLS)}"):
        protocol_named("occ")
    assert len(CLASSES) == 17
