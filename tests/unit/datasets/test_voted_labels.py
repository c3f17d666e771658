"""Votes against a count by hand, and the step in a training set."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from minkocc.apis.prepare_weak_occupancy import prepare_weak_occupancy
from minkocc.config import load_config
from minkocc.datasets.transforms.loading import InputError
from minkocc.datasets.transforms.voted_labels import VOTED_LABELS
from minkocc.datasets.voted_labels import LiftedReturns, vote
from minkocc.datasets.weak_occupancy import keyframes_around
from minkocc.files.occupancy import LabelBudgetError
from minkocc.registry import DATASETS
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.taxonomy import UNVOTED, WEAK_DROPPED, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid
from tests.unit.config.test_load import MINI

GRID = VoxelGrid((0.0, 0.0, 0.0, 4.0, 4.0, 2.0), 1.0)


def lifted(*rows):
    """Returns of (x, y, z, label, confidence)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return LiftedReturns(
        table[:, :3].astype(np.float32), table[:, 3].astype(np.uint8), table[:, 4].astype(np.uint8)
    )


def test_the_heavier_class_wins_a_voxel_over_all_keyframes():
    moved = np.eye(4)
    moved[0, 3] = 1.0  # the second keyframe stood a metre behind
    first = lifted((1.5, 0.5, 0.5, 4, 200), (1.2, 0.1, 0.9, 10, 100), (3.5, 3.5, 1.5, 0, 9))
    second = lifted((0.5, 0.5, 0.5, 10, 150), (-0.5, 0.2, 0.2, 7, 50), (3.5, 0.5, 0.5, 7, 255))
    voted = vote(GRID, [(np.eye(4), first), (moved, second)], 0.5)
    expected = np.full(GRID.shape, UNVOTED)
    expected[1, 0, 0] = 10  # 250 against 200
    expected[0, 0, 0] = 7
    expected[3, 3, 1] = 0
    np.testing.assert_array_equal(voted, expected)  # and what left the grid is nowhere


@pytest.mark.parametrize(("min_share", "winner"), [(0.5, 4), (0.6, UNVOTED)])
def test_a_class_needs_its_share(min_share, winner):
    returns = lifted((0.5, 0.5, 0.5, 4, 55), (0.5, 0.5, 0.5, 10, 30), (0.5, 0.5, 0.5, 12, 15))
    assert vote(GRID, [(np.eye(4), returns)], min_share)[0, 0, 0] == winner


def test_equal_winners_give_the_first_id_and_no_confidence_no_vote():
    returns = lifted((0.5, 0.5, 0.5, 9, 50), (0.5, 0.5, 0.5, 3, 50), (1.5, 0.5, 0.5, 9, 0))
    voted = vote(GRID, [(np.eye(4), returns)], 0.5)
    assert (voted[0, 0, 0], voted[1, 0, 0]) == (3, UNVOTED)
    assert (vote(GRID, [], 0.5) == UNVOTED).all()
    assert (vote(GRID, [(np.eye(4), lifted())], 0.5) == UNVOTED).all()


def test_votes_equal_a_count_voxel_by_voxel():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 4.5, (400, 3)).astype(np.float32)
    label, confidence = rng.integers(0, 17, 400), rng.integers(0, 256, 400)
    returns = LiftedReturns(points, label.astype(np.uint8), confidence.astype(np.uint8))
    expected = np.full(GRID.shape, UNVOTED)
    for x, y, z in np.ndindex(*GRID.shape):
        inside = (np.floor(points) == (x, y, z)).all(1)
        votes = np.bincount(label[inside], confidence[inside], 17)
        if votes.sum() and votes.max() >= 0.3 * votes.sum():
            expected[x, y, z] = votes.argmax()
    np.testing.assert_array_equal(vote(GRID, [(np.eye(4), returns)], 0.3), expected)


def training_set(root, cache, **more):
    init_default_scope("minkocc")
    options = {"data_root": str(root), "cache_root": str(cache), "vote_weight": 1.0, **more}
    cfg = load_config(MINI, options)
    return cfg, DATASETS.build(cfg.train_dataloader.dataset)


def test_what_is_voted_is_mostly_what_is_there(synthetic_root, tmp_path):
    """Against the exact labels, which no training of the weak phase may read."""
    _, dataset = training_set(synthetic_root, tmp_path)
    results = dataset.start(TrainIndex(0, 0, Phase.WEAK))
    for step in dataset.pipeline.transforms:
        if type(step).__name__ == "AugmentScene":
            break
        results = step(results)
    voted = results[VOTED_LABELS]
    with np.load(synthetic_root / dataset.get_data_info(0)["occ_path"]) as archive:
        truth = archive["semantics"]
    known = voted != UNVOTED
    assert known.sum() > 1000
    assert (results["weak_occupancy"][known] == WEAK_OCCUPIED).all()
    both = known & (truth < 17)
    assert (voted[both] == truth[both]).mean() > 0.75


def test_the_loss_phases_alone_load_it_and_it_moves_with_the_scene(synthetic_root, tmp_path):
    _, dataset = training_set(synthetic_root, tmp_path)
    sample = dataset[TrainIndex(0, 3, Phase.WEAK)]["data_samples"]
    assert sample.voted_labels.shape == OCC3D_GRID.shape
    # Both moved by the same matrix; a voxel that was dropped was occupied.
    there = sample.weak_occupancy[sample.voted_labels != UNVOTED]
    assert set(there.unique().tolist()) <= {WEAK_OCCUPIED, WEAK_DROPPED}
    assert len(there) > 1000
    assert "voted_labels" not in dataset.bare_sample(0)["data_samples"]
    _, without = training_set(synthetic_root, tmp_path / "none", vote_weight=0.0)
    assert "voted_labels" not in without[TrainIndex(0, 3, Phase.WEAK)]["data_samples"]
    assert not list((tmp_path / "none").rglob("voted_labels"))


def test_it_is_kept_prepared_and_refused_when_it_is_damaged(synthetic_root, tmp_path):
    cfg, dataset = training_set(synthetic_root, tmp_path)
    assert prepare_weak_occupancy(cfg)[:2] == (6, 6)
    files = sorted((tmp_path).rglob("voted_labels/*/*.npz"))
    assert len(files) == 6
    before = [path.read_bytes() for path in files]
    for index in range(6):
        dataset[TrainIndex(index, 0, Phase.WEAK)]
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("voted_labels/*/*.npz"))] == before
    assert prepare_weak_occupancy(cfg)[:2] == (6, 0)
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cached voted labels .* cannot be read.*delete it"):
        dataset[TrainIndex(0, 0, Phase.WEAK)]


def test_keyframes_are_linked_and_moved(synthetic_root, tmp_path):
    _, dataset = training_set(synthetic_root, tmp_path)
    frame = dataset.get_data_info(1)
    own, former = keyframes_around(frame, dataset._frame_of, (8, 8))
    np.testing.assert_allclose(own[1], np.eye(4), atol=1e-9)
    assert former[0]["token"] == frame["prev"]
    moved = frame["ego2global"] @ former[1]
    np.testing.assert_allclose(moved, former[0]["ego2global"], atol=1e-6)


def test_no_dense_label_is_read_for_it(synthetic_root, tmp_path):
    _, dataset = training_set(synthetic_root, tmp_path, alpha=0.0)
    dataset[TrainIndex(0, 0, Phase.WEAK)]
    with pytest.raises(LabelBudgetError):
        dataset[TrainIndex(0, 0, Phase.WARM)]
