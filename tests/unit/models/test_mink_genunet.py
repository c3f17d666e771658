import dataclasses
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from minkocc.datasets.transforms.loading import refine
from minkocc.files.occupancy import read_label
from minkocc.models.losses import occupancy_bce
from minkocc.models.mink_genunet import MinkGenUNet
from minkocc.ops.sparse import get_backend
from minkocc.structures.taxonomy import WEAK_FREE, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import OCC3D_GRID

REAL_LABELS = Path(__file__).parents[4] / "shared" / "data" / "occ3d_label" / "gts"

RANGE = (-6.4, -6.4, -3.2, 6.4, 6.4, 3.2)
SHAPE = (32, 32, 16)
NEEDS_MINKOWSKI = pytest.mark.skipif(
    importlib.util.find_spec("MinkowskiEngine") is None, reason="MinkowskiEngine is not installed"
)
BACKENDS = ["torch", pytest.param("minkowski", marks=NEEDS_MINKOWSKI)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def make(backend, bias=None, **settings):
    """A small network; with ``bias`` every occupancy logit is that constant."""
    torch.manual_seed(0)
    net = MinkGenUNet(RANGE, 0.4, 4, channels=(8,) * 5, backend=backend, **settings)
    if bias is not None:
        for layer in net.occupancy:
            torch.nn.init.zeros_(layer.kernel)
            torch.nn.init.constant_(layer.bias, bias)
    return net


def cloud(count, batch=0, seed=0):
    """Unique voxels with random features."""
    rng = np.random.default_rng([seed, batch])
    flat = rng.choice(np.prod(SHAPE), count, replace=False)
    xyz = np.stack(np.unravel_index(flat, SHAPE), 1)
    coords = np.concatenate([np.full((count, 1), batch), xyz], 1)
    feats = rng.standard_normal((count, 4))
    return torch.tensor(feats, dtype=torch.float32), torch.tensor(coords, dtype=torch.int32)


def two_clouds():
    parts = [cloud(60, 0), cloud(40, 1)]
    return torch.cat([feats for feats, _ in parts]), torch.cat([coords for _, coords in parts])


def random_target(batch, seed):
    """Free, few occupied, unknown and ignored voxels."""
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 255, 254], np.uint8)
    return torch.from_numpy(rng.choice(values, (batch, *SHAPE), p=[0.49, 0.01, 0.3, 0.2]))


def as_set(coords):
    return {tuple(row) for row in coords.tolist()}


def record_kept(net):
    """What each level keeps, in the order of the decoder."""
    kept, prune = [], net.sparse.prune

    def spy(x, mask):
        out = prune(x, mask)
        kept.append(as_set(out.coords))
        return out

    net.sparse = dataclasses.replace(net.sparse, prune=spy)
    return kept


def inside(voxels):
    return all(0 <= v < n for voxel in voxels for v, n in zip(voxel[1:], SHAPE))


def test_never_empty_however_low_the_logits(backend):
    net = make(backend, bias=-50.0).eval()
    with torch.no_grad():
        out, _ = net(*two_clouds())
    assert set(out.coords[:, 0].tolist()) == {0, 1}
    assert inside(as_set(out.coords))


def test_keeps_exactly_the_target_when_all_logits_are_low(backend):
    net = make(backend, bias=-50.0).train()
    kept = record_kept(net)
    feats, coords = two_clouds()
    target = torch.zeros((2, *SHAPE), dtype=torch.uint8)
    wanted = coords[::3].long()
    target[tuple(wanted.T)] = 1
    out, levels = net(feats, coords, target)
    assert [level.stride for level in levels] == [8, 4, 2, 1]
    for level, voxels in zip(levels, kept):
        s = level.stride
        coarse = {(b, x // s * s, y // s * s, z // s * s) for b, x, y, z in wanted.tolist()}
        assert voxels == as_set(level.coords) & coarse
    # The input's own voxels are candidates at every level, so that none of them is lost.
    assert as_set(out.coords) == as_set(wanted)


def test_crops_to_the_grid(backend):
    net = make(backend, bias=50.0).eval()
    kept = record_kept(net)
    corners = torch.tensor([[0, 0, 0, 0], [0, 31, 31, 15], [0, 0, 31, 0]], dtype=torch.int32)
    with torch.no_grad():
        out, levels = net(torch.ones(3, 4), corners)
    assert all(inside(as_set(level.coords)) for level in levels)
    assert all(inside(voxels) for voxels in kept)
    assert as_set(out.coords) == as_set(levels[-1].coords)


def test_cap_keeps_the_best_logits_of_each_sample(backend):
    net = make(backend, max_voxels=4).eval()
    with torch.no_grad():
        for layer in net.occupancy:
            layer.bias.fill_(3.0)
        kept = record_kept(net)
        _, levels = net(*two_clouds())
    for level, voxels in zip(levels, kept):
        for b in (0, 1):
            own = [
                (logit, tuple(voxel))
                for logit, voxel in zip(level.logits.tolist(), level.coords.tolist())
                if voxel[0] == b and inside([tuple(voxel)])
            ]
            assert len(own) > 4
            best = {voxel for _, voxel in sorted(own, reverse=True)[:4]}
            assert {voxel for voxel in voxels if voxel[0] == b} == best
            assert level.cut[b] == len(own) - 4


def test_under_the_cap_target_voxels_come_first(backend):
    net = make(backend, max_voxels=8, bias=4.0).train()
    feats, coords = cloud(60)
    target = torch.full((1, *SHAPE), 255, dtype=torch.uint8)
    target[tuple(coords[:1].long().T)] = 1
    out, _ = net(feats, coords, target)
    assert len(out.coords) == 8
    assert as_set(coords[:1]) <= as_set(out.coords)


def test_of_more_targets_than_the_cap_the_likeliest_are_kept(backend):
    net = make(backend, max_voxels=4).train()
    kept = record_kept(net)
    target = torch.ones(1, *SHAPE, dtype=torch.uint8)
    _, levels = net(*cloud(60), target)
    for level, voxels in zip(levels, kept):
        inner = [inside([tuple(voxel)]) for voxel in level.coords.tolist()]
        logits = level.logits.masked_fill(~torch.tensor(inner), -torch.inf)
        best = level.coords[logits.topk(4).indices]
        assert voxels == as_set(best)


def finer(candidates, logits, cap, voxel_size, targets=None):
    """Which candidates of a fine level survive; all are targets, if it is not said which."""
    net = MinkGenUNet(
        OCC3D_GRID.point_cloud_range, voxel_size, 4, channels=(8,) * 5, max_voxels=cap
    )
    coords = torch.nn.functional.pad(candidates.nonzero(), (1, 0)).int()
    backend = get_backend("torch")
    x = backend.tensor(torch.zeros(len(coords), 1), coords, bounds=net.grid.shape)
    wanted = torch.full((len(coords),), WEAK_OCCUPIED, dtype=torch.uint8)
    if targets is not None:
        wanted[~targets] = WEAK_FREE
    keep, cut = net._keep(x, logits, wanted, torch.tensor(0.4))
    return coords[:, 1:].long(), keep, cut


def test_under_the_cap_every_04_m_cell_of_a_finer_model_keeps_its_likeliest_voxel():
    torch.manual_seed(0)
    targets = torch.zeros(400, 400, 32, dtype=torch.bool)
    targets[100:120, 40:60, 8:12] = True  # 10 x 10 x 2 cells of 8 voxels
    logits = torch.randn(1600)
    logits[:800] += 50.0  # by logit alone the half of the cells would be emptied
    coords, keep, cut = finer(targets, logits, 300, 0.2)
    assert keep.sum() == 300
    assert cut == [1300]
    cells = coords.div(2, rounding_mode="floor")
    _, cell = cells.unique(dim=0, return_inverse=True)
    for number in range(200):
        members = cell == number
        assert keep[members][logits[members].argmax()]
    # The rest are the likeliest of what is left.
    best = torch.zeros(200).scatter_reduce(0, cell, logits, "amax", include_self=False)[cell]
    others = logits.masked_fill(logits == best, -torch.inf)
    assert set(others.topk(100).indices.tolist()) < set(keep.nonzero().flatten().tolist())


def test_targets_come_before_other_cells_of_a_finer_model():
    candidates = torch.zeros(400, 400, 32, dtype=torch.bool)
    candidates[10:12, 10:12, 10:12] = True  # eight targets in one cell
    candidates[20:38:2, 0, 0] = True  # nine others, each alone in its cell, and likelier
    targets = torch.tensor([True] * 8 + [False] * 9)
    logits = torch.arange(17.0)
    _, keep, cut = finer(candidates, logits, 10, 0.2, targets)
    assert keep[:8].all()
    assert keep.nonzero().flatten().tolist()[8:] == [15, 16]
    assert cut == [7]


@pytest.mark.data
@pytest.mark.skipif(not REAL_LABELS.is_dir(), reason="the real Occ3D label is not on this machine")
def test_no_cell_of_a_real_label_is_emptied_at_01_m():
    (path,) = REAL_LABELS.rglob("labels.npz")
    occupied = read_label(path)["voxel_semantics"] < 17
    targets = torch.from_numpy(refine(occupied, 4))
    torch.manual_seed(0)
    coords, keep, cut = finer(targets, torch.randn(int(targets.sum())), 400_000, 0.1)
    assert keep.sum() == 400_000
    assert cut[0] > 1_000_000  # so many of the label's voxels have no place
    found = torch.zeros(occupied.shape, dtype=torch.bool)
    found[tuple(coords[keep].div(4, rounding_mode="floor").T)] = True
    assert torch.equal(found, torch.from_numpy(occupied))


def test_samples_do_not_mix(backend):
    net = make(backend).eval()
    with torch.no_grad():
        for layer in net.occupancy:
            layer.bias.fill_(0.0)
        both, _ = net(*two_clouds())
        for b, count in ((0, 60), (1, 40)):
            feats, coords = cloud(count, b)
            coords[:, 0] = 0
            alone, _ = net(feats, coords)
            rows = both.coords[:, 0] == b
            own = both.coords[rows]
            own[:, 0] = 0
            assert_same_voxels(own, both.feats[rows], alone.coords, alone.feats)


def assert_same_voxels(coords, feats, other_coords, other_feats):
    def order(c):
        return np.lexsort(c.numpy().T)

    first, second = order(coords), order(other_coords)
    assert torch.equal(coords[first], other_coords[second])
    torch.testing.assert_close(feats[first], other_feats[second], rtol=1e-4, atol=1e-4)


@NEEDS_MINKOWSKI
@pytest.mark.parametrize("training", [False, True])
def test_one_state_dict_gives_the_same_on_both_backends(training):
    nets = [make(name) for name in ("torch", "minkowski")]
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in nets[0].parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for layer in nets[0].occupancy:
            layer.bias.fill_(0.0)
    nets[1].load_state_dict(nets[0].state_dict())
    feats, coords = two_clouds()
    target = None
    if training:
        target = random_target(2, seed=3)
    with torch.no_grad():
        (a, a_levels), (b, b_levels) = (net.train(training)(feats, coords, target) for net in nets)
    assert len(a.coords) > 50
    assert_same_voxels(a.coords, a.feats, b.coords, b.feats)
    for left, right in zip(a_levels, b_levels):
        assert_same_voxels(left.coords, left.logits, right.coords, right.logits)


def test_levels_are_recorded_before_pruning(backend):
    net = make(backend, bias=-50.0).train()
    kept = record_kept(net)
    feats, coords = two_clouds()
    target = torch.zeros((2, *SHAPE), dtype=torch.uint8)
    target[tuple(coords[::5].long().T)] = 1
    _, levels = net(feats, coords, target)
    source = {(b, x // 16 * 16, y // 16 * 16, z // 16 * 16) for b, x, y, z in coords.tolist()}
    for level, voxels in zip(levels, kept):
        s = level.stride
        grown = {
            (b, x + s * i, y + s * j, z + s * k)
            for b, x, y, z in source
            for i, j, k in itertools.product((-1, 0, 1), repeat=3)
        }
        grown = {voxel for voxel in grown if inside([voxel])}
        skip = {(b, x // s * s, y // s * s, z // s * s) for b, x, y, z in coords.tolist()}
        assert as_set(level.coords) == grown | skip
        assert voxels < as_set(level.coords)
        source = voxels


def test_voxels_that_are_not_known_get_no_gradient(backend):
    net = make(backend).train()
    feats, coords = cloud(80)
    target = random_target(1, seed=4)
    _, levels = net(feats, coords, target)
    last = levels[-1]
    expected = [
        int(target[(*voxel,)]) if inside([voxel]) else 254
        for voxel in map(tuple, last.coords.tolist())
    ]
    assert last.targets.tolist() == expected
    loss = occupancy_bce([level.logits for level in levels], [level.targets for level in levels])
    for level in levels:
        (grad,) = torch.autograd.grad(loss, level.logits, retain_graph=True)
        assert torch.equal(grad != 0, level.targets < 2)


def test_training_and_inference_have_thresholds_of_their_own(backend):
    """Below the constant logit's probability everything is kept, above it one voxel a sample."""
    net = make(backend, bias=0.0, thresholds=(0.4, 0.4, 0.4, 0.6))
    net.set_thresholds([0.4, 0.6, 0.4, 0.4])
    target = torch.full((2, *SHAPE), 254, dtype=torch.uint8)
    for training in (True, False):
        _, levels = net.train(training)(*two_clouds(), target if training else None)
        keeps_all = [int(level.kept.sum()) > 2 for level in levels]
        assert keeps_all == [training or place != 1 for place in range(3)] + [not training]
        assert [round(float(level.threshold), 3) for level in levels] == (
            [0.4, 0.4, 0.4, 0.6] if training else [0.4, 0.6, 0.4, 0.4]
        )


@pytest.mark.parametrize("thresholds", [[0.5] * 5, [0.5] * 3 + [1.0], [0.0] + [0.5] * 3])
def test_thresholds_that_are_none_are_refused(thresholds):
    with pytest.raises(ValueError, match="thresholds"):
        make("torch", thresholds=thresholds)
    with pytest.raises(ValueError, match="coarse to fine"):
        make("torch").set_thresholds(thresholds)


@NEEDS_MINKOWSKI
def test_calibrated_thresholds_travel_to_the_other_backend():
    calibrated = [0.11, 0.22, 0.33, 0.44]
    net = make("torch")
    net.set_thresholds(calibrated)
    other = make("minkowski")
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other.thresholds, torch.tensor(calibrated))
    assert not torch.equal(other.train_thresholds, other.thresholds)


def test_squeeze_and_excite_can_be_left_out(backend):
    with_it, without = make(backend), make(backend, squeeze_excite=False)
    gates = {name for name in with_it.state_dict() if ".excite." in name}
    assert gates
    assert set(without.state_dict()) == set(with_it.state_dict()) - gates
    voxels, _ = without(*cloud(60))
    assert len(voxels.feats)
