"""Figures of groups of classes, against sets of voxels counted one by one."""

import json

import numpy as np
import pytest
import torch

from minkocc.evaluation.grouped import groups_of
from minkocc.evaluation.metrics import DumpPredictions, OccupancyMetric, RenderedIoUMetric
from minkocc.evaluation.prediction_folder import (
    FrameFiles,
    evaluate_frames,
    frames_of_origins,
    match_frames,
)
from minkocc.evaluation.protocols import PROTOCOLS
from minkocc.evaluation.report import table, write_report
from minkocc.files.npz import npz_bytes
from minkocc.files.occupancy import PredictionError, read_class_groups
from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES
from tests.unit.evaluation.prediction_folders import ORIGINS, TOKENS, volume

SPEC = {"vehicle": ["car", "truck", "bus"], "ground": ["driveable_surface", "sidewalk", "terrain"]}
GROUPS = ClassGroups.of(SPEC)


def sample(number=0):
    """A label of all classes, and what a network of groups makes of it: some voxels are wrong."""
    rng, label = np.random.default_rng(number), volume(number)
    wrong = np.where(rng.random(label.shape) < 0.2, rng.integers(0, 18, label.shape), label)
    return {
        "token": f"frame-{number}",
        "pred_semantics": torch.from_numpy(GROUPS.grouped(wrong.astype(np.uint8))),
        "voxel_semantics": torch.from_numpy(label),
        "mask_camera": torch.from_numpy(rng.random(label.shape) < 0.5),
        "ray_origins": np.array(ORIGINS),
        "classes": GROUPS,
    }


def measured(frame, protocols=("occ3d",), groups=SPEC):
    metric = OccupancyMetric(protocols, class_groups=groups)
    metric.process(None, [frame])
    metric.evaluate(size=1)
    return metric.summaries


def test_a_groups_iou_is_that_of_the_union_of_its_classes():
    frame = sample()
    (summary,) = measured(frame)
    seen = frame["mask_camera"].numpy()
    label, pred = (frame[key].numpy()[seen] for key in ("voxel_semantics", "pred_semantics"))
    assert tuple(summary["iou"]) == GROUPS.names
    for name, members in {**{c: [c] for c in CLASSES}, **SPEC}.items():
        if name not in summary["iou"]:
            assert any(name in members for members in SPEC.values())
            continue
        ids = [CLASSES.index(member) for member in members]
        truth, found = np.isin(label, ids), np.isin(pred, ids)
        expected = 100 * (truth & found).sum() / (truth | found).sum() if truth.any() else None
        assert summary["iou"][name] == pytest.approx(expected, abs=1e-4), name
    there = [value for value in summary["iou"].values() if value is not None]
    assert summary["miou"] == pytest.approx(np.mean(there), abs=1e-3)
    assert summary["classes_averaged"]["miou"] == len(there)
    assert summary["class_groups"] == {
        "vehicle": ["bus", "car", "truck"],
        "ground": ["driveable_surface", "sidewalk", "terrain"],
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_car_for_a_truck_is_right_in_every_protocol(protocol):
    frame = sample()
    frame["pred_semantics"] = torch.from_numpy(GROUPS.grouped(frame["voxel_semantics"].numpy()))
    frame["mask_camera"] = torch.ones_like(frame["mask_camera"])
    for name, value in table_figures(measured(frame, [protocol])[0]).items():
        assert value in (100.0, None), name


def table_figures(summary):
    return {key: summary[key] for key in summary if key.startswith(("miou", "rayiou", "raypq"))}


@pytest.mark.parametrize("mistake", [None, {"vehicle": ["car", "truck"]}])
def test_a_metric_of_other_classes_than_the_networks_is_refused(mistake):
    metric = OccupancyMetric(class_groups=mistake)
    with pytest.raises(UserError, match=r"the network's classes are .*'ground'.*class_groups"):
        metric.process(None, [sample()])
    plain = {key: value for key, value in sample().items() if key != "classes"}
    with pytest.raises(UserError, match="the network's classes are those of Occ3D"):
        OccupancyMetric(class_groups=SPEC).process(None, [plain])


def test_a_group_moves_or_is_left_out_where_all_of_its_classes_are():
    """A barrier is a thing that stands still; other_flat is left out of selfsup15 by itself."""
    spec = {
        "site": ["barrier", "construction_vehicle"],
        "two wheels": ["bicycle", "motorcycle"],
        "ground": ["other_flat", "terrain"],
        "odd": ["others"],
    }
    frame = sample()
    groups = frame["classes"] = ClassGroups.of(spec)
    frame["pred_semantics"] = torch.from_numpy(
        groups.grouped(np.where(volume(0) == 2, 17, volume(1)).astype(np.uint8))
    )
    occ3d, fifteen = measured(frame, ["occ3d", "selfsup15"], spec)
    iou = occ3d["iou"]

    def mean(names):
        there = [iou[name] for name in names if iou[name] is not None]
        return pytest.approx(np.mean(there), abs=1e-3)

    moving = ["two wheels", "bus", "car", "pedestrian", "trailer", "truck"]
    assert occ3d["miou_dynamic"] == mean(moving)
    assert fifteen["miou"] == mean(set(iou) - {"odd"})


def test_instances_of_a_group_are_those_of_its_classes(folders):
    """A car and a truck that touch are one vehicle without ids, and two things with them."""
    label = np.full(volume(0).shape, 17, np.uint8)
    label[100:120, 100:105, 2:6], label[120:140, 100:105, 2:6] = 4, 10
    ids = np.where(label < 17, 7, 0).astype(np.uint8)
    path = folders / "gts" / "scene-0" / "aa" / "labels.npz"
    pred = folders / "pred" / "aa.npz"
    stamp = {"class_ids": GROUPS.table, "class_names": np.array(GROUPS.names)}
    found = []
    for given in ({}, {"instances": ids}):
        mask = np.ones(label.shape, np.uint8)
        path.write_bytes(npz_bytes(semantics=label, mask_camera=mask, **given))
        pred.write_bytes(npz_bytes(pred=GROUPS.grouped(label), **stamp))
        frame = FrameFiles("aa", path, pred, np.array(ORIGINS))
        (summary,) = evaluate_frames([frame], ["raypq"])
        found.append(summary["pq@4"]["vehicle"])
    assert found[0] == 100.0
    assert found[1] < 100.0


def test_without_groups_a_summary_stays_as_it_is():
    frame = sample()
    del frame["classes"]
    plain = OccupancyMetric()
    plain.process(None, [frame])
    plain.evaluate(size=1)
    assert measured(frame, groups=None) == measured(frame, groups={}) == plain.summaries
    assert "class_groups" not in plain.summaries[0]
    assert groups_of(plain.summaries[0]).plain


def test_rendered_pixels_are_grouped_alike():
    metric = RenderedIoUMetric(GROUPS)
    target = np.array([[0, 18, 4, 5, 11, 12]], np.uint8)  # bus, car, truck, driveable_surface
    rendered = np.array([[4, 4, 4, 4, 12, 12]], np.uint8)
    paths = {"rendered_tied": rendered, "rendered_shader": rendered}
    metric.process(None, [{"token": "t", "rendered_target": target, **paths}])
    metric.evaluate(size=1)
    (summary,) = metric.summaries
    assert summary["num_pixels"] == 4
    assert summary["iou_tied"]["vehicle"] == pytest.approx(200 / 3, abs=1e-3)
    assert summary["iou_tied"]["ground"] == 50.0


def test_pictures_and_tables_are_of_the_groups(tmp_path):
    summaries = measured(sample(), ["occ3d", "rayiou"])
    assert "| vehicle " in table(summaries[0])
    assert "| truck " not in table(summaries[0])
    assert "class vehicle: bus, car, truck" in table(summaries[0])
    written = write_report(tmp_path / "a.json", summaries, {})
    assert {path.name for path in written} == {
        "a.json", "a.md", "a_classes.png", "a_confusion_occ3d.png"
    }  # fmt: skip
    assert groups_of(json.loads(written[0].read_text())["occ3d"]) == GROUPS


def dumped(folders, groups=GROUPS, tokens=TOKENS):
    """Predictions of the labels' groups, as ``tools/test.py --dump`` writes them."""
    dump = DumpPredictions(folders / "pred", groups)
    for number, token in enumerate(tokens):
        pred = np.where(volume(number) == 4, 11, volume(number)).astype(np.uint8)
        dump.count({"token": token, "pred_semantics": torch.from_numpy(groups.grouped(pred))})
    listed = frames_of_origins(folders / "origins.json")
    return match_frames(folders / "pred", folders / "gts", listed).frames


def test_dumped_predictions_are_measured_in_their_groups(folders):
    frames = dumped(folders)
    assert read_class_groups(frames[0].pred).table.tolist() == GROUPS.table.tolist()
    metric = OccupancyMetric(["occ3d", "rayiou"], class_groups=SPEC)
    for frame in frames:
        label, mask = np.load(frame.label)["semantics"], np.load(frame.label)["mask_camera"]
        metric.process(
            None,
            [{
                "token": frame.token,
                "pred_semantics": np.load(frame.pred)["pred"],
                "voxel_semantics": label,
                "mask_camera": mask.astype(bool),
                "ray_origins": np.array(ORIGINS),
                "classes": GROUPS,
            }],
        )  # fmt: skip
    metric.evaluate(size=3)
    for found, own in zip(evaluate_frames(frames, ["occ3d", "rayiou"]), metric.summaries):
        for key in ("miou", "rayiou", "geometric_iou"):
            assert found.get(key) == own.get(key)
        assert found["class_groups"] == own["class_groups"]
    assert own["rayiou"] < 100


def test_predictions_of_two_networks_are_not_mixed(folders):
    frames = dumped(folders, tokens=TOKENS[:2])
    with pytest.raises(PredictionError, match=r"cc\.npz is of classes others, .* one network"):
        evaluate_frames(frames, ["occ3d"])


@pytest.mark.parametrize("stamp", [np.arange(17), np.full(18, 3, np.uint8), np.array("x")])
def test_a_stamp_that_makes_no_sense_is_refused(folders, stamp):
    path = folders / "pred" / "aa.npz"
    names = np.array(GROUPS.names)
    path.write_bytes(npz_bytes(pred=volume(0), class_ids=stamp, class_names=names))
    with pytest.raises(PredictionError, match=r"aa\.npz, key class_ids is"):
        read_class_groups(path)


def test_a_prediction_that_contradicts_its_stamp_is_refused(folders):
    frames = dumped(folders)
    pred = np.where(volume(0) == 11, 10, volume(0)).astype(np.uint8)
    names = np.array(GROUPS.names)
    frames[0].pred.write_bytes(npz_bytes(pred=pred, class_ids=GROUPS.table, class_names=names))
    with pytest.raises(PredictionError, match=r"aa\.npz holds classes that its class_ids put into"):
        evaluate_frames(frames, ["occ3d"])


def test_a_stamp_without_names_is_refused(folders):
    path = folders / "pred" / "aa.npz"
    path.write_bytes(npz_bytes(pred=volume(0), class_ids=GROUPS.table))
    with pytest.raises(PredictionError, match=r"aa\.npz has class_ids and lacks 'class_names'"):
        read_class_groups(path)


def test_other_peoples_predictions_are_of_occ3ds_classes(folders):
    assert read_class_groups(folders / "pred" / "aa.npz") == OCC3D_CLASSES
