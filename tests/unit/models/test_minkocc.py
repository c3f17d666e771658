import copy

import pytest
import torch
import torch.nn.functional as F

from minkocc.models.group_index import group_index
from minkocc.models.lift import lifted_cross_entropy
from minkocc.models.occupancy_grid import to_occ3d
from minkocc.models.semantic_head import SemanticHead
from minkocc.structures.errors import UserError
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid
from tests.unit.models.tiny_model import FULL_RANGE, SMALL_RANGE, build, make_batch

PLAIN = group_index(None)
HEAD = {"type": "PulsarHead", "channels": 16, "voxel_size": 0.4}
TERMS = {
    Phase.WARM: {"loss_bce", "loss_3d_ce", "loss_warm_shader"},
    Phase.WEAK: {"loss_bce", "loss_2d_ce_shader", "loss_2d_ce_tied"},
    Phase.STRONG: {"loss_bce", "loss_3d_ce", "loss_2d_ce_shader", "loss_2d_ce_tied"},
}


def outputs_of(model, batch):
    return model(**model.data_preprocessor(batch, training=True), mode="loss")


def losses_of(model, batch):
    return {k: v for k, v in outputs_of(model, batch).items() if "loss" in k}


@pytest.mark.parametrize("phase", list(Phase))
def test_terms_of_a_phase_are_finite_and_train_what_they_should(phase):
    model = build().train()
    losses = losses_of(model, make_batch(phase, size=2))
    assert set(losses) == TERMS[phase]
    assert all(term.isfinite() and term > 0 for term in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if phase is Phase.WARM and name.startswith("pulsar_head.sphere"):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("phase", list(Phase))
def test_voxels_may_be_rendered_in_the_place_of_spheres(phase):
    model = build().train()
    same = build(pulsar_head={**HEAD, "renderer": "voxels"}).train()
    same.load_state_dict(model.state_dict())  # one checkpoint serves both
    losses = losses_of(same, make_batch(phase, size=2))
    assert set(losses) == TERMS[phase]
    sum(losses.values()).backward()
    for name, parameter in same.named_parameters():
        if not (phase is Phase.WARM and name.startswith("pulsar_head.sphere")):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_two_threads_give_the_same_gradients_every_time():
    model, batch = build().train(), make_batch(Phase.STRONG, size=2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        grads = []
        for _ in range(3):
            losses = losses_of(model, copy.deepcopy(batch))
            grads.append(torch.autograd.grad(sum(losses.values()), list(model.parameters())))
    finally:
        torch.set_num_threads(before)
    for again in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], again))


def test_without_the_warm_shader_the_warm_start_leaves_the_head_alone():
    model = build().train()
    model.pulsar_head.warm_shader = False
    losses = losses_of(model, make_batch(Phase.WARM))
    assert set(losses) == {"loss_bce", "loss_3d_ce"}
    sum(losses.values()).backward()
    assert all(p.grad is None for p in model.pulsar_head.parameters())


@pytest.mark.parametrize("phase", Phase)
def test_lambdas_scale_their_terms(phase):
    plain, scaled = build().train(), build(lambda_1=1.5, lambda_2=2.0).train()
    batch = make_batch(phase)
    expected, got = losses_of(plain, batch), losses_of(scaled, batch)
    assert len(got) > 1
    for name, value in got.items():
        factor = 2.0 if name == "loss_bce" else 3.0  # the semantic terms, 2D or 3D, are lambda_1's
        torch.testing.assert_close(value, factor * expected[name], rtol=1e-4, atol=1e-6)


def test_both_paths_together_weigh_what_the_paper_says():
    model, batch = build().eval(), make_batch(Phase.WEAK)
    weights = {}
    for shader, tied in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (3.0, 1.0)):
        model.pulsar_head.shader_weight, model.pulsar_head.tied_weight = shader, tied
        weights[shader, tied] = losses_of(model, batch)
    alone = weights[1.0, 0.0]["loss_2d_ce_shader"], weights[0.0, 1.0]["loss_2d_ce_tied"]
    for (shader, tied), share in (((0.5, 0.5), 0.5), ((3.0, 1.0), 0.75)):
        got = weights[shader, tied]
        torch.testing.assert_close(got["loss_2d_ce_shader"], share * alone[0])
        torch.testing.assert_close(got["loss_2d_ce_tied"], (1 - share) * alone[1])


@pytest.mark.parametrize("phase", Phase)
def test_without_2d_weights_no_phase_needs_a_pseudo_label(phase):
    model = build().train()
    model.pulsar_head.weight_2d = 0.0
    batch = make_batch(phase)
    for key in ("img_semantics", "img_confidence"):
        delattr(batch["data_samples"][0], key)
    losses = losses_of(model, batch)
    assert set(losses) == {"loss_bce"} | ({"loss_3d_ce"} if phase.needs_dense else set())


def test_weak_phase_never_looks_at_dense_labels():
    model = build().eval()
    batch, blind = make_batch(Phase.WEAK), make_batch(Phase.WEAK)
    for key in ("voxel_semantics", "mask_camera"):
        delattr(blind["data_samples"][0], key)
    expected, got = losses_of(model, batch), losses_of(model, blind)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])


def rendered_in(model, batch, monkeypatch):
    """Centres that the render head is given, and the losses."""
    seen = []
    for name in ("loss", "warm_loss"):
        plain = getattr(model.pulsar_head, name)

        def spy(*arguments, plain=plain):
            seen.append(arguments[2] if len(arguments) > 3 else arguments[1])
            return plain(*arguments)

        monkeypatch.setattr(model.pulsar_head, name, spy)
    losses = losses_of(model, batch)
    return seen[0], losses


@pytest.mark.parametrize("phase", Phase)
def test_known_free_space_is_rendered_unless_it_is_carved(phase, monkeypatch):
    model, batch = build().eval(), make_batch(phase)
    model.genunet.set_thresholds([0.04] * 4)  # an untrained network says 0.047, and keeps all
    target = model.targets.occupancy(batch["data_samples"], phase)[0]
    whole, _ = rendered_in(model, copy.deepcopy(batch), monkeypatch)
    x, y, z = model.grid.to_index(whole.numpy()).T
    free = target[x, y, z] == 0
    assert 0 < free.sum() < len(free)  # some of what the network keeps is known to be free
    model.carve_free = True
    carved, losses = rendered_in(model, copy.deepcopy(batch), monkeypatch)
    torch.testing.assert_close(carved, whole[~free])
    assert all(term.isfinite() for term in losses.values())


def test_carving_moves_no_voxel_into_another_sample(monkeypatch):
    model, batch = build(carve_free=True).eval(), make_batch(Phase.WEAK, size=2)
    model.genunet.set_thresholds([0.04] * 4)
    batch["data_samples"][0].weak_occupancy.fill_(0)  # all free: nothing is left of it
    centres, losses = rendered_in(model, batch, monkeypatch)
    assert len(centres) == 0
    assert all(term.isfinite() for term in losses.values())
    losses["loss_2d_ce_tied"].backward()
    assert model.semantic_head.mlp[2].weight.grad.any()


def test_train_mask_hides_what_no_camera_saw():
    batch = make_batch(Phase.WARM)
    sample = batch["data_samples"][0]
    sample.mask_camera[:20] = False
    expected = sample.voxel_semantics.clone()
    expected[:20] = 255
    coords = torch.nonzero(torch.ones(40, 40, 16)).int()
    coords = torch.cat([torch.zeros(len(coords), 1, dtype=torch.int32), coords], 1)
    masked, unmasked = build(train_mask="camera"), build(train_mask=None)
    assert torch.equal(masked.targets.semantics(coords, [sample]), expected.flatten())
    assert torch.equal(
        unmasked.targets.semantics(coords, [sample]), sample.voxel_semantics.flatten()
    )


@pytest.mark.parametrize("train_mask", ["camera", None])
@pytest.mark.parametrize("outside", ["label", "free", "ignore"])
def test_emptiness_outside_the_mask_is_a_choice_of_its_own(outside, train_mask):
    sample = make_batch(Phase.WARM)["data_samples"][0]
    sample.mask_camera[:20] = False
    model = build(outside=outside, train_mask=train_mask)
    target = model.targets.occupancy([sample], Phase.WARM)[0]
    label = (sample.voxel_semantics < 17).byte()
    assert torch.equal(target[20:], label[20:])
    hidden = {"label": label[:20], "free": 0 * label[:20], "ignore": 0 * label[:20] + 254}
    assert torch.equal(target[:20], hidden[outside])


@pytest.mark.parametrize(
    "choice",
    [
        {"outside": "empty"},
        {"unknown": "maybe"},
        {"unknown_weight": 0.0},
        {"unknown_weight": 1.5},
        {"train_mask": "lidar"},
    ],
)
def test_choices_that_do_not_exist_are_refused(choice):
    name, value = next(iter(choice.items()))
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        build(**choice)


def test_the_unknown_is_taught_to_be_free_or_not_at_all():
    batch = make_batch(Phase.WEAK)
    known = (batch["data_samples"][0].weak_occupancy < 254).sum()
    assert 0 < known < 40 * 40 * 16
    costs = {
        (unknown, weight): losses_of(
            build(unknown=unknown, unknown_weight=weight).train(), make_batch(Phase.WEAK)
        )["loss_bce"].item()
        for unknown, weight in [("ignore", 0.5), ("ignore", 1.0), ("free", 0.5), ("free", 1.0)]
    }
    assert costs["ignore", 0.5] == costs["ignore", 1.0]
    assert len(set(costs.values())) == 3


def test_the_log_tells_how_levels_prune_and_when_the_cap_is_met():
    batch = make_batch(Phase.WARM, size=2)
    names = {"recall_s8", "recall_s4", "recall_s2", "recall_s1", "kept"}
    model = build().train()
    outputs = outputs_of(model, batch)
    assert {name for name in outputs if "loss" not in name} == names
    labelled = (batch["data_samples"][0].voxel_semantics < 17).sum()
    # An untrained network adds next to nothing.
    assert 0.9 * labelled < outputs["kept"] < 1.1 * labelled
    for layer in model.genunet.occupancy:
        layer.bias.data.fill_(9.0)
    model.genunet.max_voxels = 500
    outputs = outputs_of(model, batch)
    assert outputs["recall_s1"] > 0.9
    assert outputs["kept"] == 500
    assert outputs["cut_s1"] > 500
    assert "cut_s8" not in outputs  # 5 x 5 x 2 cells inside the grid


@pytest.mark.parametrize("other", [Phase.WEAK, None])
def test_mixed_phases_are_refused(other):
    batch = make_batch(Phase.WARM, size=2)
    batch["data_samples"][1].set_metainfo({"phase": other})
    with pytest.raises(ValueError, match="needs one phase"):
        losses_of(build(), batch)


@pytest.mark.parametrize("phase", [Phase.WARM, Phase.WEAK])
def test_a_fixed_batch_is_learned(phase):
    model = build().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = make_batch(phase)
    history = []
    for _ in range(15):
        losses = losses_of(model, batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: term.item() for name, term in losses.items()})
    for name in TERMS[phase]:
        assert history[-1][name] < 0.8 * history[0][name], name


def test_prediction_needs_no_label_and_equals_the_surviving_voxels():
    model = build(FULL_RANGE).eval()
    grid = VoxelGrid(FULL_RANGE, 0.4)
    bare = model.data_preprocessor(make_batch(None, size=2, grid=grid, labels=False))
    samples = model(**bare, mode="predict")
    coords, logits = model(**bare, mode="tensor")
    for b, sample in enumerate(samples):
        pred = sample.pred_semantics
        assert (pred.shape, pred.dtype) == ((200, 200, 16), torch.uint8)
        rows = coords[:, 0] == b
        expected = torch.full((200, 200, 16), 17, dtype=torch.uint8)
        expected[tuple(coords[rows, 1:].long().T)] = logits[rows].argmax(1).to(torch.uint8)
        assert torch.equal(pred, expected)
        assert 0 < rows.sum() == (pred < 17).sum()


def test_prediction_is_the_same_with_labels_at_hand():
    model = build(FULL_RANGE).eval()
    grid = VoxelGrid(FULL_RANGE, 0.4)
    bare, labelled = (
        model(
            **model.data_preprocessor(make_batch(None, grid=grid, labels=labels)), mode="predict"
        )[0]
        for labels in (False, True)
    )
    assert torch.equal(bare.pred_semantics, labelled.pred_semantics)


def test_rendered_predictions_leave_the_voxels_alone():
    grid = VoxelGrid(FULL_RANGE, 0.4)
    plain, rendering = (
        build(FULL_RANGE, render_predictions=render).eval() for render in (False, True)
    )
    data = plain.data_preprocessor(make_batch(None, size=2, grid=grid))
    expected = [sample.pred_semantics for sample in plain(**data, mode="predict")]
    assert not any("rendered_tied" in sample for sample in data["data_samples"])
    for sample, voxels in zip(rendering(**data, mode="predict"), expected):
        assert torch.equal(sample.pred_semantics, voxels)
        assert sample.rendered_tied.shape == sample.rendered_target.shape
        assert (sample.rendered_tied > 0).any()


def test_finer_voxels_train_and_predict_on_the_labels_grid():
    model = build(FULL_RANGE, voxel_size=0.2)
    data = model.data_preprocessor(make_batch(None, grid=VoxelGrid(FULL_RANGE, 0.2), labels=False))
    coords, _ = model.eval()(**data, mode="tensor")
    pred = model(**data, mode="predict")[0].pred_semantics
    expected = torch.zeros(200, 200, 16, dtype=torch.bool)
    expected[tuple((coords[:, 1:] // 2).long().T)] = True
    assert torch.equal(pred < 17, expected)
    small = build(SMALL_RANGE, voxel_size=0.2).train()
    losses = losses_of(small, make_batch(Phase.STRONG, grid=VoxelGrid(SMALL_RANGE, 0.2)))
    assert all(term.isfinite() for term in losses.values())


def test_pooling_by_hand():
    fine = VoxelGrid(FULL_RANGE, 0.2)
    index = torch.tensor(
        [[0, 0, 0], [1, 1, 1], [399, 399, 31], [10, 11, 12], [-1, 0, 0], [400, 0, 0], [0, 0, 32]]
    )
    probs = torch.zeros(7, 17)
    probs[0, 3], probs[0, 5] = 0.6, 0.4  # argmax 3, but the two children together say 5
    probs[1, 5], probs[1, 3] = 0.7, 0.3
    probs[2, 16] = probs[3, 0] = 1.0
    probs[4:, 9] = 1.0
    expected = torch.full((200, 200, 16), 17, dtype=torch.uint8)
    expected[0, 0, 0], expected[199, 199, 15], expected[5, 5, 6] = 5, 16, 0
    assert torch.equal(to_occ3d(index, probs, fine, PLAIN), expected)


def test_pooling_of_the_labels_own_grid_and_of_nothing():
    index = torch.tensor([[3, 4, 5]])
    pred = to_occ3d(index, torch.eye(17)[[8]], OCC3D_GRID, PLAIN)
    assert pred[3, 4, 5] == 8
    assert (pred < 17).sum() == 1
    assert (to_occ3d(index[:0], torch.zeros(0, 17), OCC3D_GRID, PLAIN) == 17).all()


def test_pooling_refuses_another_range():
    with pytest.raises(ValueError, match="different ranges"):
        to_occ3d(torch.zeros(1, 3), torch.zeros(1, 17), VoxelGrid(SMALL_RANGE, 0.4), PLAIN)


def test_lift_on_a_scene_worked_by_hand():
    grid = VoxelGrid(SMALL_RANGE, 0.4)
    cloud = torch.tensor(
        [
            [5.0, 0.25, -0.25, 0.1, 0.0],
            [5.0, 2.25, -0.25, 0.1, 0.0],
            [5.0, 0.25, 1.75, 0.1, 0.0],  # its voxel was pruned
            [5.0, -3.0, -0.25, 0.1, 0.0],  # unlabelled
            [99.0, 0.0, 0.0, 0.1, 0.0],  # outside the grid
        ]
    )
    sample = OccDataSample()
    sample.lift_point = torch.tensor([1, 0, 2, 4])
    sample.lift_label = torch.tensor([16, 4, 7, 7], dtype=torch.uint8)
    sample.lift_confidence = torch.tensor([255, 51, 255, 255], dtype=torch.uint8)
    first, second = grid.to_index(cloud[0, :3]), grid.to_index(cloud[1, :3])
    other = torch.tensor([0, 0, 0])
    coords = torch.stack([F.pad(v, (1, 0)) for v in (other, second, first)]).int()
    logits = torch.randn(3, 17, generator=torch.Generator().manual_seed(0), requires_grad=True)
    cost = lifted_cross_entropy(logits, coords, [cloud], [sample], grid, PLAIN)
    log_probs = logits - logits.exp().sum(1, keepdim=True).log()
    expected = -(0.2 * log_probs[2, 4] + 1.0 * log_probs[1, 16]) / 1.2
    torch.testing.assert_close(cost, expected, rtol=1e-5, atol=1e-5)
    cost.backward()
    assert not logits.grad[0].any()


def test_voted_labels_teach_the_classifier_in_the_weak_phase_alone():
    model = build(vote_weight=0.5).train()
    assert "loss_voted_ce" not in losses_of(model, make_batch(Phase.WARM))
    batch = make_batch(Phase.WEAK)
    for sample in batch["data_samples"]:
        occupied = sample.weak_occupancy == 1
        sample.voted_labels = torch.where(occupied, 11, 255).byte()
    losses = losses_of(model, batch)
    assert set(losses) == TERMS[Phase.WEAK] | {"loss_voted_ce"}
    model.set_render_ramp(0.5)
    half = losses_of(model, batch)["loss_voted_ce"]
    torch.testing.assert_close(half, 0.5 * losses["loss_voted_ce"], rtol=1e-3, atol=1e-5)
    losses["loss_voted_ce"].backward()
    assert model.semantic_head.mlp[2].weight.grad.any()
    for sample in batch["data_samples"]:
        sample.voted_labels.fill_(255)  # nothing is known
    assert losses_of(model, batch)["loss_voted_ce"] == 0


def test_balanced_loss_counts_the_classes_of_its_own_labels():
    """A rare class weighs as Eq. 4 says of its number here, whatever dense labels were counted."""
    head = SemanticHead(4, beta=0.9)
    head.set_class_counts(torch.full((17,), 1e6))
    logits = torch.randn(12, 17)
    labels = torch.tensor([3] * 2 + [11] * 9 + [255])
    weights = torch.ones(17)
    weights[3], weights[11] = (1 - 0.9) / (1 - 0.9**2), (1 - 0.9) / (1 - 0.9**9)
    expected = torch.nn.functional.cross_entropy(logits[:11], labels[:11], weights)
    torch.testing.assert_close(head.balanced_loss(logits, labels.byte()), expected)


def test_lift_term_appears_in_the_weak_phase_only():
    model = build(lift_weight=0.5).train()
    assert "loss_lift_ce" not in losses_of(model, make_batch(Phase.WARM))
    batch = make_batch(Phase.WEAK)
    with pytest.raises(ValueError, match=r"no lifted labels.*LiftPseudoLabels"):
        losses_of(model, batch)
    for sample in batch["data_samples"]:
        sample.lift_point = torch.arange(100)
        sample.lift_label = torch.full((100,), 11, dtype=torch.uint8)
        sample.lift_confidence = torch.full((100,), 200, dtype=torch.uint8)
    losses = losses_of(model, batch)
    assert set(losses) == TERMS[Phase.WEAK] | {"loss_lift_ce"}
    assert losses["loss_lift_ce"] > 0


def predicted(model, batch):
    return model(**model.data_preprocessor(batch), mode="predict")


@pytest.mark.parametrize("empty", [[1], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("cloud", ["out of range", "no point"])
def test_nothing_is_predicted_of_a_sample_without_points(empty, cloud):
    model = build(FULL_RANGE, render_predictions=True).eval()
    model.record_levels = True
    grid = VoxelGrid(FULL_RANGE, 0.4)
    batch, whole = (make_batch(None, 3, grid, labels=False) for _ in range(2))
    expected = predicted(model, whole)
    for number, sample in enumerate(batch["data_samples"]):
        sample.set_metainfo({"token": f"frame-{number}"})
    for number in empty:
        points = batch["inputs"]["points"][number]
        batch["inputs"]["points"][number] = points[:0] if cloud == "no point" else points + 1000
    samples = predicted(model, batch)
    for number, sample in enumerate(samples):
        assert bool(sample.get("no_points")) == (number in empty)
        assert ("decoder_levels" in sample) != (number in empty)
        if number in empty:
            assert (sample.pred_semantics == 17).all()
            assert not sample.rendered_tied.any()
        else:
            same = sample.pred_semantics == expected[number].pred_semantics
            assert same.float().mean() > 0.999  # other batches round otherwise


def test_in_training_a_frame_without_points_is_named():
    model, batch = build(), make_batch(Phase.WEAK)
    batch["data_samples"][0].set_metainfo({"token": "frame-7"})
    batch["inputs"]["points"][0] += 1000
    with pytest.raises(UserError, match=r"frame frame-7 has no LiDAR point inside .*: check its"):
        losses_of(model, batch)


def test_a_cloud_without_a_point_in_range_is_named():
    model = build()
    batch = make_batch(Phase.WARM, size=2)
    batch["inputs"]["points"][1][:, 0] += 100.0
    with pytest.raises(ValueError, match="frame t has no LiDAR point"):
        losses_of(model, batch)


@pytest.mark.parametrize("voxel_size", [0.4, 0.2])
def test_what_the_render_head_is_given(voxel_size, monkeypatch):
    """Rows of features, probabilities and centres belong together, sample by sample."""
    grid = VoxelGrid(FULL_RANGE, voxel_size)
    model = build(FULL_RANGE, voxel_size=voxel_size, render_predictions=True).eval()
    data = model.data_preprocessor(make_batch(None, size=2, grid=grid, labels=False))
    model.genunet.set_thresholds([0.047] * 4)  # an untrained network says 0.047 everywhere
    for parameter in model.semantic_head.parameters():
        torch.nn.init.normal_(parameter, std=1.0)  # probabilities that differ between voxels
    given = []
    monkeypatch.setattr(model.pulsar_head, "predict", lambda *spheres: given.append(spheres))
    samples = model(**data, mode="predict")
    with torch.no_grad():
        voxels, _ = model.extract_feat(data["inputs"], data["data_samples"])
        probs = model.semantic_head(voxels.feats).softmax(1)
    for b, (sample, spheres) in enumerate(zip(samples, given, strict=True)):
        rows = voxels.coords[:, 0] == b
        coords = voxels.coords[rows, 1:]
        assert rows.sum() > 100
        assert torch.equal(sample.pred_semantics, to_occ3d(coords, probs[rows], grid, PLAIN))
        expected = (voxels.feats[rows], probs[rows], grid.to_centre(coords))
        for got, want in zip(spheres[:3], expected):
            torch.testing.assert_close(got, want)
        assert spheres[3] is sample


@pytest.mark.parametrize("phase", Phase)
def test_without_a_render_head_nothing_is_rendered(phase):
    model = build(pulsar_head=None)
    losses = losses_of(model.train(), make_batch(phase))
    assert set(losses) == {"loss_bce"} | ({"loss_3d_ce"} if phase.needs_dense else set())
    whole = build(FULL_RANGE, pulsar_head=None, render_predictions=True).eval()
    batch = whole.data_preprocessor(make_batch(None, grid=VoxelGrid(FULL_RANGE, 0.4)))
    (sample,) = whole(**batch, mode="predict")
    assert "pred_semantics" in sample
    assert "rendered_tied" not in sample
