import copy

import pytest
import torch

from minkocc.models.group_index import GroupIndex, classes_of, group_index
from minkocc.models.losses import effective_number_weights
from minkocc.models.semantic_head import SemanticHead
from minkocc.registry import MODELS
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.phase import Phase
from minkocc.structures.taxonomy import CLASSES
from tests.unit.models.tiny_model import build, make_batch

GROUPS = {"built": ["manmade", "barrier"], "ground": ["driveable_surface", "sidewalk"]}
HEADS = {
    "semantic_head": {"type": "SemanticHead", "channels": 16, "class_groups": GROUPS},
    "pulsar_head": {
        "type": "PulsarHead",
        "channels": 16,
        "voxel_size": 0.4,
        "class_groups": GROUPS,
    },
}


def test_indices_and_ids_are_each_others_inverse():
    index = group_index(GROUPS)
    groups = ClassGroups.of(GROUPS)
    found = index.index_of(torch.arange(256, dtype=torch.uint8))
    assert found[:17].tolist() == list(groups.group_of)
    assert (found[17:] == 255).all()
    assert index.id_of(found[:17]).tolist() == groups.table[:17].tolist()


def test_2d_ids_are_one_more_and_sky_is_nothing():
    index = group_index(GROUPS)
    found = index.index_of_2d(torch.arange(19, dtype=torch.uint8)).tolist()
    assert found == [0, *(group + 1 for group in ClassGroups.of(GROUPS).group_of), 0]
    plain = group_index(None).index_of_2d(torch.arange(19, dtype=torch.uint8))
    assert plain.tolist() == [*range(18), 0]


def test_a_checkpoint_says_nothing_of_them():
    assert not GroupIndex(ClassGroups.of(GROUPS)).state_dict()


def test_class_weights_are_of_the_groups_voxels():
    head = SemanticHead(16, beta=0.9, class_groups=GROUPS)
    counts = torch.arange(17.0)
    head.set_class_counts(counts)
    sums = [
        sum(counts[CLASSES.index(name)].item() for name in GROUPS.get(group, [group]))
        for group in head.classes.groups.names
    ]
    torch.testing.assert_close(
        head.class_weights, effective_number_weights(torch.tensor(sums), 0.9)
    )


def losses_of(model, batch):
    batch = model.data_preprocessor(copy.deepcopy(batch), training=True)
    return {k: v for k, v in model(**batch, mode="loss").items() if "loss" in k}


def lifted_and_voted(batch):
    """Adds what the transforms of lifted and voted labels would."""
    for sample, cloud in zip(batch["data_samples"], batch["inputs"]["points"]):
        sample.voted_labels = sample.voxel_semantics.clone()
        sample.lift_point = torch.arange(0, len(cloud), 5)
        sample.lift_label = torch.where(cloud[::5, 2] < 0, 11, 15).to(torch.uint8)
        sample.lift_confidence = torch.full((len(sample.lift_point),), 200, dtype=torch.uint8)
    return batch


@pytest.mark.parametrize("phase", list(Phase))
def test_members_of_a_group_teach_the_same(phase):
    """A wall of barriers and a road of sidewalk, in 3D and in 2D, cost what the others cost."""
    more = {"lift_weight": 1.0, "vote_weight": 1.0}
    model = build(**HEADS, **more).eval()
    batch = lifted_and_voted(make_batch(phase, size=2))
    other = copy.deepcopy(batch)
    for sample in other["data_samples"]:
        swap = {15: 1, 11: 13}
        image = sample.img_semantics
        for old, new in swap.items():
            image[image == old + 1] = new + 1
            for values in (sample.voxel_semantics, sample.voted_labels, sample.lift_label):
                values[values == old] = new
    plain = build(**more).eval()
    expected, found = losses_of(model, batch), losses_of(model, other)
    assert set(expected) > {"loss_bce"}
    if phase is Phase.WEAK:
        assert set(expected) > {"loss_lift_ce", "loss_voted_ce"}
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    changed = [
        name
        for name, value in losses_of(plain, batch).items()
        if not torch.equal(value, losses_of(plain, other)[name])
    ]
    assert set(changed) == set(expected) - {"loss_bce"}


def test_a_network_of_groups_learns_and_predicts_their_ids():
    model = build(**HEADS, render_predictions=True).train()
    losses = losses_of(model, make_batch(Phase.STRONG))
    sum(losses.values()).backward()
    groups = ClassGroups.of(GROUPS)
    assert model.semantic_head.mlp[-1].weight.grad.abs().sum() > 0
    assert model.semantic_head.mlp[-1].out_features == len(groups) == 15
    coords, logits = model(**model.data_preprocessor(make_batch(Phase.STRONG)))
    assert logits.shape == (len(coords), 15)
    predicting = build(**HEADS, point_cloud_range=(-40.0, -40.0, -1.0, 40.0, 40.0, 5.4)).eval()
    predicting.render_predictions = True
    (sample,) = predicting.predict(**predicting.data_preprocessor(make_batch(None)))
    assert set(sample.pred_semantics.unique().tolist()) <= {*groups.ids, 17}
    for name in ("rendered_tied", "rendered_shader"):
        assert set(sample.get(name).unique().tolist()) <= {0, *(i + 1 for i in groups.ids)}


def test_a_head_that_says_nothing_of_its_classes_is_refused():
    @MODELS.register_module(force=True)
    class Bare(torch.nn.Module):
        def __init__(self, channels):
            super().__init__()

    with pytest.raises(ValueError, match="semantic_head Bare has no attribute classes"):
        build(semantic_head={"type": "Bare", "channels": 16})
    MODELS.module_dict.pop("Bare")
    assert classes_of(object()).plain
    assert classes_of(build(**HEADS)) == ClassGroups.of(GROUPS)


def test_heads_of_different_classes_are_refused():
    with pytest.raises(ValueError, match=r"pulsar_head are those of Occ3D: expected .*'built'"):
        build(semantic_head=HEADS["semantic_head"])
