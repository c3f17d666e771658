"""Thresholds from hand-made histograms, and on a frame that is overfitted until it is known."""

import numpy as np
import pytest
import torch

from minkocc.engine.calibrate import (
    CalibrateHook,
    coarse_threshold,
    finest_threshold,
)
from minkocc.structures.phase import Phase, TrainIndex
from tests.unit.models.tiny_model import build, make_batch

EDGES = torch.linspace(-8.0, 8.0, 321)


def histogram(*logits):
    return torch.bincount(torch.bucketize(torch.tensor(logits), EDGES), minlength=322).numpy()


def sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def test_a_coarse_level_keeps_the_share_that_is_asked_for_and_no_more():
    occupied = histogram(*np.arange(100) / 10 - 5.02)  # one every 0.1 from -5.02
    for recall, lowest_kept in ((0.9, -4.02), (0.5, -0.02), (0.99, -4.92)):
        logit = np.log(coarse_threshold(occupied, recall, 1e-9) ** -1 - 1) * -1
        assert logit < lowest_kept
        assert logit == pytest.approx(lowest_kept, abs=0.05 + 1e-3)
    assert coarse_threshold(occupied, 0.9, 0.1) == 0.1
    assert coarse_threshold(occupied, 0.5, 0.1) > 0.1


NOTHING = np.zeros(322, np.int64)


def test_the_finest_level_takes_the_best_iou():
    # Kept above 1: 3 of 5 right, 1 wrong, IoU 3 / 6. Above 0: 4 right, 4 wrong, IoU 4 / 9.
    occupied, free = histogram(2.52, 1.52, 1.52, 0.52), histogram(1.52, 0.52, 0.52, 0.52)
    threshold = finest_threshold(occupied, free, NOTHING, missed=1, unseen_weight=0.2)
    assert sigmoid(0.52) < threshold < sigmoid(1.52)
    # With every free voxel far below, all that is occupied is kept: 4 / 5.
    free = histogram(-1.0, -3.0)
    threshold = finest_threshold(occupied, free, NOTHING, missed=1, unseen_weight=0.2)
    assert sigmoid(-1.0) <= threshold < sigmoid(0.52)


def test_the_unseen_counts_with_its_weight():
    # Above 1: 3 / 5. Above 0: 4 right of 5, 4 unseen kept.
    occupied, unseen = histogram(2.52, 1.52, 1.52, 0.52), histogram(0.52, 0.52, 0.52, 0.52)
    for weight, lower in ((0.0, True), (0.2, True), (0.5, False), (1.0, False)):
        threshold = finest_threshold(occupied, NOTHING, unseen, 1, weight)
        assert (threshold < sigmoid(0.52)) == lower, weight  # 4 / (5 + 4 w) against 3 / 5


def test_logits_beyond_the_edges_count():
    far = histogram(-20.0, 20.0)
    assert coarse_threshold(far, 0.5, 1e-9) == pytest.approx(sigmoid(8.0))
    # Kept above 0: 1 of 2 right. Above -8: the same, and one wrong.
    assert finest_threshold(far, histogram(-1.0), NOTHING, 0, 0.2) > sigmoid(-1.0)


class OneFrame:
    """Half of the tiny scene as a training set; cameras see its surfaces and nothing else.

    Without a word on emptiness outside the mask an overfitted network fills the other half.
    """

    def __init__(self, phase, labelled=True):
        self.phase, self.labelled, self.asked = phase, labelled, []

    def __len__(self):
        return 1

    def labelled_indices(self):
        return [0] if self.labelled else []

    def batch(self):
        batch = make_batch(self.phase)
        sample = batch["data_samples"][0]
        sample.voxel_semantics[:20] = 17
        sample.mask_camera = sample.voxel_semantics < 17
        points = batch["inputs"]["points"][0]
        batch["inputs"]["points"][0] = points[points[:, 0] > 0]
        return batch

    def bare_sample(self, number):
        return self.plain_sample(number)

    def plain_sample(self, index):
        self.asked.append(index)
        batch = self.batch()
        inputs = {name: values[0] for name, values in batch["inputs"].items()}
        return {"inputs": inputs, "data_samples": batch["data_samples"][0]}


def overfit(model, frame, iterations):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(iterations):
        data = model.data_preprocessor(frame.batch(), training=True)
        outputs = model(**data, mode="loss")
        optimizer.zero_grad()
        sum(value for name, value in outputs.items() if "loss" in name).backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def occupied_by(model, frame):
    data = model.data_preprocessor(frame.batch())
    voxels, _ = model.extract_feat(data["inputs"], data["data_samples"])
    volume = torch.zeros(40, 40, 16, dtype=torch.bool)
    volume[tuple(voxels.coords[:, 1:].long().T)] = True
    return volume


@pytest.mark.parametrize("outside", ["label", "free"])
def test_an_overfitted_frame_is_recalled_and_nothing_is_flooded(outside):
    frame = OneFrame(Phase.WARM)
    model = build(outside=outside).train()
    model.pulsar_head.warm_shader = False
    overfit(model, frame, 60)
    model.genunet.set_thresholds(CalibrateHook().thresholds(model, frame))
    predicted = occupied_by(model, frame)
    visible = frame.batch()["data_samples"][0].voxel_semantics < 17
    assert predicted[visible].float().mean() > 0.95
    assert predicted.sum() < 2 * visible.sum()
    assert frame.asked == [TrainIndex(0, 0, Phase.WARM)] * 2


def test_without_a_label_weak_targets_are_read():
    frame = OneFrame(Phase.WEAK, labelled=False)
    model = overfit(build().train(), frame, 30)
    thresholds = CalibrateHook().thresholds(model, frame)
    assert set(frame.asked) == {TrainIndex(0, 0, Phase.WEAK)}
    model.genunet.set_thresholds(thresholds)
    weak = frame.batch()["data_samples"][0].weak_occupancy
    assert occupied_by(model, frame)[weak == 1].float().mean() > 0.9


def test_a_frame_without_anything_occupied_leaves_the_thresholds_of_training():
    frame = OneFrame(Phase.WARM)
    empty = frame.plain_sample(TrainIndex(0, 0, Phase.WARM))
    empty["data_samples"].voxel_semantics[:] = 17
    frame.plain_sample = lambda index: empty
    model = build().eval()
    before = model.genunet.train_thresholds.tolist()
    model.genunet.set_thresholds([0.3] * 4)
    assert CalibrateHook().thresholds(model, frame) == before


@pytest.mark.parametrize(
    "settings", [{"frames": 0}, {"recall": 0.0}, {"recall": 1.0}, {"unseen_weight": -0.1}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        CalibrateHook(**settings)
