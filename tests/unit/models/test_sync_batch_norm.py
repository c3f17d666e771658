import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from minkocc.models.mink_genunet import SparseNorm
from minkocc.models.sync_batch_norm import SyncBatchNorm, convert_sync_batch_norm
from minkocc.ops.sparse import get_backend
from minkocc.structures.phase import Phase
from tests.forked import run_group
from tests.unit.models.tiny_model import build, make_batch

pytestmark = pytest.mark.processes

CHANNELS = 4
STEPS = 3

# Rows of each rank; of what is 4D, images of 3 x 5 pixels.
ROWS = {
    "equal": (6, 6),
    "unequal": (9, 2),
    "one row here": (1, 7),
    "no row here": (0, 5),
    "no row there": (5, 0),
    "a row each": (1, 1),
    "a row in total": (0, 1),
    "no row at all": (0, 0),
}
KINDS = {
    "float64": {"dtype": torch.float64},
    "float32": {"dtype": torch.float32},
    "images": {"dtype": torch.float64, "pixels": (3, 5)},
    "far from zero": {"dtype": torch.float32, "offset": 1000.0},
    "bfloat16": {"dtype": torch.bfloat16},
    "cumulative": {"dtype": torch.float64, "momentum": None},
    "not affine": {"dtype": torch.float64, "affine": False},
    "not tracked": {"dtype": torch.float64, "track_running_stats": False},
}
CASES = [(rows, kind) for rows in ROWS for kind in ("float64", "float32", "images")]
CASES += [(rows, kind) for rows in ("unequal", "no row here") for kind in list(KINDS)[3:]]
TOLERANCE = {"float32": 1e-4, "far from zero": 1e-3, "bfloat16": 2e-2}


def make_layer(layer, kind):
    """With weights, biases and running statistics that are not those of a new layer."""
    settings = {k: v for k, v in KINDS[kind].items() if k not in ("dtype", "pixels", "offset")}
    layer = layer(CHANNELS, **settings)
    with torch.no_grad():
        for number, tensor in enumerate(layer.state_dict().values()):
            if tensor.is_floating_point():
                tensor.copy_(torch.arange(1, CHANNELS + 1) / 2 + number)
    return layer


def make_rows(rows, kind, step):
    """Inputs and the factors of the objective, each a list over ranks, float64."""
    generator = torch.Generator().manual_seed(step)
    shape = (sum(ROWS[rows]), CHANNELS, *KINDS[kind].get("pixels", ()))
    x, factor = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    x = 3 * x + KINDS[kind].get("offset", 1.0)
    # What a rank gets is what the reference sees, rounding included.
    return x.to(KINDS[kind]["dtype"]).double().split(ROWS[rows]), factor.split(ROWS[rows])


def train(layer, batches, dtype):
    """Outputs and input gradients of each step, weight gradients of all, buffers at the end."""
    steps = []
    for x, factor in batches:
        x = x.to(dtype)
        if x.ndim == 4:
            x = x.to(memory_format=torch.channels_last)
        x.requires_grad_()
        out = layer(x)
        assert (out.shape, out.dtype) == (x.shape, x.dtype)
        result = out.detach().clone()
        # The layer has to allow what follows it to work in place.
        (F.relu(out, inplace=True).double() ** 2 * factor).sum().backward()
        steps.append((result, x.grad))
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    return {"steps": steps, "gradients": gradients, "buffers": dict(layer.named_buffers())}


def sparse(rows):
    coords = torch.zeros(rows, 4, dtype=torch.int32)
    coords[:, 1] = torch.arange(rows)
    feats = (torch.arange(1.0, rows + 1)[:, None] ** 2).repeat(1, CHANNELS)
    return get_backend("torch").tensor(feats, coords)


def tiny_frames(phase, frames):
    batch = make_batch(phase, size=3)
    batch["inputs"] = {name: values[frames] for name, values in batch["inputs"].items()}
    batch["data_samples"] = batch["data_samples"][frames]
    return batch


def tiny_step(model, bare, phase, frames):
    batch = bare.data_preprocessor(tiny_frames(phase, frames), training=True)
    sum(model(**batch, mode="loss").values()).backward()
    gradients = {name: p.grad for name, p in bare.named_parameters() if p.grad is not None}
    return {"buffers": dict(bare.named_buffers()), "gradients": gradients}


def run_rank(rank, folder):
    """All that two processes are needed for, in one pair of them."""
    out = {}
    for rows, kind in CASES:
        dtype = KINDS[kind]["dtype"]
        layer = make_layer(SyncBatchNorm, kind)
        layer.to(torch.float64 if dtype == torch.float64 else torch.float32)
        batches = [[part[rank] for part in make_rows(rows, kind, step)] for step in range(STEPS)]
        out[rows, kind] = train(layer, batches, dtype)

    norm = convert_sync_batch_norm(SparseNorm(CHANNELS))
    out["sparse"] = [norm(sparse(count)).feats.detach() for count in ((1, 3)[rank], (0, 1)[rank])]

    for phase in (Phase.WARM, Phase.WEAK):
        bare = build(sync_bn=True).train()
        model = nn.parallel.DistributedDataParallel(bare, find_unused_parameters=True)
        frames = (slice(0, 1), slice(1, 3))[rank]
        out[phase] = tiny_step(model, bare, phase, frames)
    torch.save(out, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    run_group(run_rank, 2, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize(("rows", "kind"), CASES)
def test_two_processes_equal_one_with_the_rows_of_both(ranks, rows, kind):
    pixels = KINDS[kind].get("pixels")
    layer = make_layer(nn.BatchNorm2d if pixels else nn.BatchNorm1d, kind).double()
    total = sum(ROWS[rows]) * (math.prod(pixels) if pixels else 1)
    if total < 2:
        layer.eval()  # by the running statistics, which stay
    batches = [map(torch.cat, make_rows(rows, kind, step)) for step in range(STEPS)]
    expected = train(layer, batches, torch.float64)

    tolerance = TOLERANCE.get(kind, 1e-10)

    def check(got, wanted):
        torch.testing.assert_close(got.double(), wanted.double(), rtol=tolerance, atol=tolerance)

    results = [rank[rows, kind] for rank in ranks]
    for step, (out, grad) in enumerate(expected["steps"]):
        check(torch.cat([result["steps"][step][0] for result in results]), out)
        check(torch.cat([result["steps"][step][1] for result in results]), grad)
    for name, wanted in expected["gradients"].items():
        check(sum(result["gradients"][name] for result in results), wanted)
    assert results[0]["buffers"].keys() == expected["buffers"].keys()
    for name, wanted in expected["buffers"].items():
        assert torch.equal(results[0]["buffers"][name], results[1]["buffers"][name])
        check(results[0]["buffers"][name], wanted)


def test_sparse_norm_waits_for_no_one(ranks):
    (one, none), (three, single) = (rank["sparse"] for rank in ranks)
    norm = SparseNorm(CHANNELS)
    values = torch.cat([sparse(1).feats, sparse(3).feats])
    torch.testing.assert_close(torch.cat([one, three]), norm.bn(values).relu())
    assert none.shape == (0, CHANNELS)
    torch.testing.assert_close(single, norm.eval()(sparse(1)).feats)


@pytest.mark.parametrize("phase", [Phase.WARM, Phase.WEAK])
def test_a_model_on_two_processes_has_the_statistics_of_all_frames(ranks, phase):
    first, second = (rank[phase] for rank in ranks)
    model = build().train()
    expected = tiny_step(model, model, phase, slice(0, 3))
    for name, wanted in expected["buffers"].items():
        assert torch.equal(first["buffers"][name], second["buffers"][name]), name
        torch.testing.assert_close(first["buffers"][name], wanted, rtol=1e-3, atol=1e-5)
    assert first["gradients"].keys() == second["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in first["gradients"].items():
        assert gradient.isfinite().all(), name
        assert torch.equal(gradient, second["gradients"][name]), name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["float64", "images", "cumulative", "not affine", "not tracked"])
def test_one_process_is_batch_norm(kind, training):
    reference = make_layer(nn.BatchNorm2d if kind == "images" else nn.BatchNorm1d, kind)
    layer = make_layer(SyncBatchNorm, kind)
    for step in range(STEPS):
        x = torch.cat(make_rows("equal", kind, step)[0]).float()
        assert torch.equal(layer.train(training)(x.requires_grad_()), reference.train(training)(x))
    assert layer.state_dict().keys() == reference.state_dict().keys()
    for name, value in reference.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_take_the_running_statistics(rows):
    layer = make_layer(SyncBatchNorm, "float32")
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(rows, CHANNELS)
    out = layer(x)
    torch.testing.assert_close(layer.state_dict(), before)
    assert torch.equal(out, layer.eval()(x))


@pytest.mark.parametrize("shape", [(CHANNELS,), (5, CHANNELS + 1), (5, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_other_shapes_are_refused(shape, training):
    with pytest.raises(ValueError, match=r"expected \(V, 4, \.\.\.\)"):
        SyncBatchNorm(CHANNELS).train(training)(torch.ones(shape))


def test_conversion_keeps_tensors_and_flags():
    shared = nn.BatchNorm1d(3, eps=1e-3, momentum=0.2)
    module = nn.Sequential(
        shared,
        nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.BatchNorm3d(3).eval(), shared),
        nn.InstanceNorm1d(3, track_running_stats=True),
    )
    shared.weight.requires_grad_(False)
    before = module.state_dict(keep_vars=True)
    training = [child.training for child in module.modules()]
    assert convert_sync_batch_norm(module) is module
    after = module.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert [child.training for child in module.modules()] == training
    kinds = [type(child) for child in (module[0], *module[1], module[2])]
    assert kinds == [SyncBatchNorm] * 4 + [nn.InstanceNorm1d]
    assert module[1][2] is module[0]
    assert (module[0].eps, module[0].momentum) == (1e-3, 0.2)
    assert not module[0].weight.requires_grad
    assert module[0].bias.requires_grad
    assert type(convert_sync_batch_norm(nn.BatchNorm2d(3))) is SyncBatchNorm


def test_a_frozen_resnet_keeps_its_statistics():
    resnet = convert_sync_batch_norm(ResNet(18, base_channels=8, frozen_stages=1, norm_eval=True))
    norms = [child for child in resnet.modules() if isinstance(child, _BatchNorm)]
    assert {type(norm) for norm in norms} == {SyncBatchNorm}
    resnet.train()
    assert not any(norm.training for norm in norms)
    assert not resnet.bn1.weight.requires_grad
    nn.init.zeros_(resnet.layer4[1].bn1.weight)
    resnet.init_weights()  # mmdet's, which finds batch norm by the name of its base class
    assert (resnet.layer4[1].bn1.weight == 1).all()


def test_a_model_with_it_has_the_same_checkpoint_and_loss():
    plain, synchronised = build().train(), build(sync_bn=True).train()
    norms = [child for child in synchronised.modules() if isinstance(child, _BatchNorm)]
    assert {type(norm) for norm in norms} == {SyncBatchNorm}
    assert list(plain.state_dict()) == list(synchronised.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(synchronised.state_dict()[name], value), name
    synchronised.load_state_dict(plain.state_dict())
    losses = []
    for model in (plain, synchronised):
        batch = model.data_preprocessor(make_batch(Phase.WARM), training=True)
        losses.append(model(**batch, mode="loss"))
    torch.testing.assert_close(*losses, rtol=0, atol=0)
