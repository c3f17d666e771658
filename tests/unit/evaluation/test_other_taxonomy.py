"""Figures of another taxonomy against those of groups of Occ3D's classes: the same but for ids."""

import json

import numpy as np
import pytest

from minkocc.evaluation.grouped import groups_of, summarise_groups
from minkocc.evaluation.prediction_folder import (
    FrameList,
    evaluate_frames,
    frames_of_origins,
    match_frames,
)
from minkocc.evaluation.protocols import PROTOCOLS, Frame
from minkocc.evaluation.report import figures, table
from minkocc.files.npz import npz_bytes
from minkocc.files.occupancy import (
    LabelError,
    PredictionError,
    groups_stamp,
    read_class_groups,
    read_label,
)
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.taxonomy import FREE, Taxonomy
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.other_taxonomy import DRIVING8, GROUPS_OF_OCC3D, TO_DRIVING8

OTHER = ClassGroups.of(None, Taxonomy.of(DRIVING8))
GROUPS = ClassGroups.of(GROUPS_OF_OCC3D)


def volumes(seed):
    """A prediction and a label of Occ3D's ids: blocks, some of them taken for others."""
    rng = np.random.default_rng(seed)
    coarse = np.where(rng.random((25, 25, 4)) < 0.7, FREE, rng.integers(0, 17, (25, 25, 4)))
    label = coarse.repeat(8, 0).repeat(8, 1).repeat(4, 2).astype(np.uint8)
    pred = label.copy()
    wrong = rng.random(label.shape) < 0.3
    pred[wrong] = rng.integers(0, 18, wrong.sum())
    return pred, label, rng.random(label.shape) < 0.6


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "selfsup15"])
def test_every_figure_is_that_of_the_same_groups_of_occ3d(name):
    pred, label, mask = volumes(0)
    origins = np.array([[0.9, 0.0, 1.8], [5.0, 1.0, 1.8]])
    protocol, found = PROTOCOLS[name], []
    for classes, change in ((GROUPS, GROUPS.grouped), (OTHER, lambda ids: TO_DRIVING8[ids])):
        frame = Frame(change(pred), change(label), mask, origins, groups=classes)
        found.append(summarise_groups(protocol, protocol.count(frame), 1, classes))
    one, other = found
    assert figures(one) == pytest.approx(figures(other), nan_ok=True)
    tables = {key: value for key, value in one.items() if isinstance(value, dict)}
    per_class = [key for key in tables if "road" in tables[key] and key != "class_groups"]
    assert per_class
    for key in per_class:
        assert list(other[key]) == list(OTHER.names)
        assert other[key] == {name: one[key][name] for name in OTHER.names}
    assert one["classes_averaged"] == other["classes_averaged"]
    assert groups_of(json.loads(json.dumps(other))) == OTHER
    assert "| vehicle " in table(other)


def test_a_prediction_says_its_taxonomy(tmp_path):
    pred, label, mask = (values for values in volumes(1))
    (tmp_path / "pred").mkdir()
    (tmp_path / "gts" / "scene" / "a").mkdir(parents=True)
    path, gts = tmp_path / "pred" / "a.npz", tmp_path / "gts" / "scene" / "a" / "labels.npz"
    path.write_bytes(npz_bytes(pred=TO_DRIVING8[pred], **groups_stamp(OTHER)))
    gts.write_bytes(
        npz_bytes(semantics=TO_DRIVING8[label], mask_camera=mask.astype(np.uint8), mask_lidar=mask)
    )
    assert read_class_groups(path) == OTHER
    frames = match_frames(tmp_path / "pred", tmp_path / "gts", None).frames
    (summary,) = evaluate_frames(frames, ["occ3d"])
    assert list(summary["iou"]) == list(OTHER.names)
    assert read_label(gts, taxonomy=OTHER.taxonomy)

    listed = FrameList({"a": np.zeros((1, 3))}, {}, tmp_path, ("road", "tree"))
    with pytest.raises(PredictionError, match=r"a\.npz is of a taxonomy .* of road, tree"):
        match_frames(tmp_path / "pred", tmp_path / "gts", listed)
    (tmp_path / "origins.json").write_text('{"a": [[0, 0, 1.8]]}')
    assert frames_of_origins(tmp_path / "origins.json").classes is None

    gts.write_bytes(npz_bytes(semantics=label, mask_camera=mask, mask_lidar=mask))
    with pytest.raises(PredictionError, match=r"label .*labels\.npz holds class \d+, and the pred"):
        evaluate_frames(frames, ["occ3d"])
    with pytest.raises(LabelError, match=r"class \d+ in semantics, and the taxonomy has 8"):
        read_label(gts, taxonomy=OTHER.taxonomy)
    path.write_bytes(npz_bytes(pred=pred, **{**groups_stamp(OTHER), "taxonomy": np.array("{")}))
    with pytest.raises(PredictionError, match="key taxonomy"):
        read_class_groups(path)


def test_free_is_17_in_every_taxonomy():
    empty = np.full(OCC3D_GRID.shape, FREE, np.uint8)
    assert np.array_equal(OTHER.grouped(empty), empty)
    assert OTHER.table.tolist() == list(range(18))
    assert TO_DRIVING8[FREE] == FREE
