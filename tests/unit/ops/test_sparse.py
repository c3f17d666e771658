"""Each sparse operation against dense convolution, on every installed backend."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from minkocc.ops import sparse
from minkocc.ops.sparse import get_backend, kernel_offsets
from minkocc.structures.errors import UserError
from tests.unit.ops.sparse_reference import (
    as_set,
    convolve,
    convolve_transposed,
    generated_set,
    random_cloud,
    strided_set,
)

needs_minkowski = pytest.mark.skipif(
    find_spec("MinkowskiEngine") is None, reason="MinkowskiEngine is not installed"
)
NAMES = ["torch", pytest.param("minkowski", marks=needs_minkowski)]


@pytest.fixture(params=NAMES)
def backend(request):
    return get_backend(request.param)


def random_tensor(backend, count, seed, channels, stride=1):
    coords = random_cloud(count, seed, stride)
    torch.manual_seed(seed)
    feats = torch.randn(len(coords), channels, dtype=torch.float64, requires_grad=True)
    return backend.tensor(feats, coords, stride), feats, coords


def assert_same_gradients(actual, expected, inputs):
    torch.testing.assert_close(actual, expected)
    weights = torch.randn_like(actual)
    got = torch.autograd.grad((actual * weights).sum(), inputs)
    want = torch.autograd.grad((expected * weights).sum(), inputs)
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b)


def test_kernel_offsets_have_x_fastest():
    assert kernel_offsets(2).tolist()[:3] == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert kernel_offsets(3).tolist()[:2] == [[-1, -1, -1], [0, -1, -1]]
    assert kernel_offsets(3).tolist()[-1] == [1, 1, 1]
    assert kernel_offsets(1).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("in_stride", [1, 2])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_convolution_equals_dense(backend, k, factor, in_stride):
    x, feats, coords = random_tensor(backend, 120, 10 * k + factor, 3, in_stride)
    conv = backend.Conv3d(3, 4, k, stride=factor, bias=True).double()
    y = conv(x)
    assert y.stride == factor * in_stride
    assert as_set(y.coords) == strided_set(coords, factor * in_stride)
    assert len(y.coords) == len(y.feats) == len(as_set(y.coords))
    expected = convolve(feats, coords, conv.kernel, k, in_stride, factor, y.coords) + conv.bias
    assert_same_gradients(y.feats, expected, [feats, conv.kernel, conv.bias])


@pytest.mark.parametrize(("in_stride", "factor"), [(2, 2), (4, 2), (1, 1)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_generative_convolution_equals_dense(backend, k, in_stride, factor):
    x, feats, coords = random_tensor(backend, 30, 10 * k + factor, 3, in_stride)
    keep = (coords[:, 1:].abs() <= 8).all(1)
    x, feats, coords = backend.prune(x, keep), feats, coords[keep]
    conv = backend.GenerativeConvTranspose3d(3, 4, k, stride=factor, bias=True).double()
    y = conv(x)
    assert y.stride == in_stride // factor
    assert as_set(y.coords) == generated_set(coords, k, y.stride)
    assert len(y.coords) == len(y.feats) == len(as_set(y.coords))
    expected = conv.bias + convolve_transposed(
        feats[keep], coords, conv.kernel, k, in_stride, factor, y.coords
    )
    assert_same_gradients(y.feats, expected, [feats, conv.kernel, conv.bias])


def test_convolution_by_hand(backend):
    # Two voxels along x: with k = 3 each sees itself through the centre, its neighbour beside it.
    x = backend.tensor(
        torch.tensor([[1.0], [10.0]]), torch.tensor([[0, -1, 0, 0], [0, 0, 0, 0]]).int()
    )
    conv = backend.Conv3d(1, 1, 3)
    with torch.no_grad():
        conv.kernel.copy_(torch.arange(27.0)[:, None, None])
    y = conv(x)
    assert y.feats[:, 0].tolist() == [13 * 1.0 + 14 * 10.0, 12 * 1.0 + 13 * 10.0]


def test_rows_keep_their_order_and_their_voxels(backend):
    x, feats, coords = random_tensor(backend, 200, 0, 2)
    assert torch.equal(x.coords, coords)
    assert torch.equal(x.feats, feats)
    assert x.coords.dtype == torch.int32
    y = x.replace(feats[:, :1] * 2)
    assert torch.equal(y.coords, coords)
    assert y.stride == 1
    pointwise = backend.Conv3d(2, 3, 1).double()
    torch.testing.assert_close(pointwise(x).feats, feats @ pointwise.kernel)
    assert torch.equal(pointwise(x).coords, coords)


def test_samples_do_not_touch(backend):
    coords = torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]]).int()
    x = backend.tensor(torch.ones(2, 1), coords)
    conv = backend.Conv3d(1, 1, 3)
    torch.testing.assert_close(conv(x).feats, conv.kernel[13].expand(2, 1))


def test_add_is_the_union_with_zeros(backend):
    x, feats, coords = random_tensor(backend, 150, 1, 2)
    a = backend.prune(x, coords[:, 1] > -2)
    b = backend.prune(x.replace(feats * 10), coords[:, 1] < 2)
    y = backend.add(a, b)
    assert as_set(y.coords) == as_set(coords)
    row = {tuple(c): i for i, c in enumerate(coords.tolist())}
    order = [row[tuple(c)] for c in y.coords.tolist()]
    factor = (coords[:, 1:2] > -2) * 1 + (coords[:, 1:2] < 2) * 10
    assert_same_gradients(y.feats, (feats * factor)[order], [feats])
    same = backend.add(x, x)
    torch.testing.assert_close(same.feats, 2 * feats)
    assert torch.equal(same.coords, coords)


def test_add_refuses_different_tensors(backend):
    x, _, _ = random_tensor(backend, 20, 1, 2)
    with pytest.raises(ValueError, match="cannot add"):
        backend.add(x, x.replace(x.feats[:, :1]))
    with pytest.raises(ValueError, match="stride 2"):
        backend.add(x, backend.Conv3d(2, 2, 2, 2).double()(x))


def test_prune_keeps_the_marked_voxels(backend):
    x, feats, coords = random_tensor(backend, 200, 2, 3)
    mask = torch.rand(len(coords)) < 0.5
    y = backend.prune(x, mask)
    assert as_set(y.coords) == as_set(coords[mask])
    row = {tuple(c): i for i, c in enumerate(coords.tolist())}
    order = [row[tuple(c)] for c in y.coords.tolist()]
    assert_same_gradients(y.feats, feats[order], [feats])


def test_convolution_after_prune_uses_the_pruned_voxels(backend):
    x, feats, coords = random_tensor(backend, 200, 3, 2)
    down = backend.Conv3d(2, 2, 3, 2).double()
    down(x)  # the coarse voxels of the whole cloud are known now
    mask = coords[:, 1] >= 1
    y = down(backend.prune(x, mask))
    assert as_set(y.coords) == strided_set(coords[mask], 2)
    expected = convolve(feats[mask], coords[mask], down.kernel, 3, 1, 2, y.coords)
    torch.testing.assert_close(y.feats, expected)


def test_everything_pruned_goes_through_every_layer(backend):
    x, feats, coords = random_tensor(backend, 50, 4, 2)
    nothing = backend.prune(x, torch.zeros(len(coords), dtype=torch.bool))
    assert nothing.feats.shape == (0, 2)
    assert nothing.coords.shape == (0, 4)
    y = nothing
    for layer in (
        backend.Conv3d(2, 2, 3, bias=True),
        backend.Conv3d(2, 2, 3, stride=2),
        backend.Conv3d(2, 2, 1),
        backend.GenerativeConvTranspose3d(2, 2, 3),
    ):
        y = layer.double()(y)
        assert y.feats.shape == (0, 2)
        assert y.coords.shape == (0, 4)
    assert backend.prune(y, torch.zeros(0, dtype=torch.bool)).feats.shape == (0, 2)
    for total in (backend.add(x, y), backend.add(y, x)):
        assert as_set(total.coords) == as_set(coords)
    assert backend.add(y, nothing).feats.shape == (0, 2)
    y.feats.sum().backward()
    assert not feats.grad.any()


def test_no_voxels_at_all(backend):
    x = backend.tensor(torch.zeros(0, 2), torch.zeros(0, 4, dtype=torch.int32))
    assert backend.Conv3d(2, 3, 3, 2)(x).feats.shape == (0, 3)


class TinyUNet(nn.Module):
    """Down, down, up, up, with skips and pruning; plain layers act on the features."""

    def __init__(self, backend):
        super().__init__()
        self.ops = backend
        self.stem = backend.Conv3d(3, 8, 3)
        self.norm = nn.BatchNorm1d(8)
        self.down1, self.down2 = backend.Conv3d(8, 8, 3, 2), backend.Conv3d(8, 8, 2, 2, bias=True)
        self.up2 = backend.GenerativeConvTranspose3d(8, 8, 3)
        self.up1 = backend.GenerativeConvTranspose3d(8, 8, 2, bias=True)
        self.block, self.head = backend.Conv3d(8, 8, 3), backend.Conv3d(8, 2, 1, bias=True)

    def forward(self, feats, coords):
        x1 = self.stem(self.ops.tensor(feats, coords))
        x1 = x1.replace(self.norm(x1.feats).relu())
        x2 = self.down1(x1)
        x4 = self.down2(x2)
        y2 = self.ops.add(self.up2(x4), x2)
        y2 = self.ops.prune(y2, y2.coords.sum(1) % 3 > 0)
        y1 = self.block(self.ops.add(self.up1(y2), x1))
        return self.head(y1.replace(y1.feats.relu()))


@needs_minkowski
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_backends_agree_on_a_unet_with_one_checkpoint(dtype, tolerance):
    coords = random_cloud(400, 0, batch=2, low=-9, high=9)
    torch.manual_seed(0)
    feats = torch.randn(len(coords), 3, dtype=dtype)
    results = []
    torch.manual_seed(1)
    state = TinyUNet(get_backend("minkowski")).state_dict()
    for name in ("torch", "minkowski"):
        net = TinyUNet(get_backend(name)).to(dtype)
        net.load_state_dict(state, strict=True)
        x = feats.clone().requires_grad_()
        y = net(x, coords)
        order = torch.tensor(sorted(range(len(y.coords)), key=lambda i: y.coords[i].tolist()))
        out = y.feats[order]
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).mean().backward()
        grads = [x.grad, *(p.grad for p in net.parameters())]
        results.append([y.coords[order], out.detach(), *grads])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@needs_minkowski
def test_one_seed_gives_one_set_of_weights():
    states = []
    for name in ("torch", "minkowski"):
        torch.manual_seed(5)
        states.append(TinyUNet(get_backend(name)).state_dict())
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key])


@pytest.mark.parametrize("name", NAMES)
def test_weight_layout(name):
    backend = get_backend(name)
    state = backend.GenerativeConvTranspose3d(3, 5, 2, bias=True).state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {"kernel": (8, 3, 5), "bias": (1, 5)}
    state = backend.Conv3d(3, 5, 1, stride=2).state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {"kernel": (3, 5)}
    kernel = backend.Conv3d(4, 64, 3).kernel
    bound = (4 * 27) ** -0.5
    assert 0.95 * bound < kernel.abs().max() <= bound
    assert "kernel_size=3" in repr(backend.Conv3d(4, 64, 3))


def test_autocast_keeps_values_close(backend):
    x, feats, coords = random_tensor(backend, 200, 6, 8)
    x = backend.tensor(feats.detach().float().requires_grad_(), coords)
    layers = [backend.Conv3d(8, 8, 3), backend.Conv3d(8, 8, 1, bias=True)]
    plain = layers[1](layers[0](x))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layers[1](layers[0](x))
    torch.testing.assert_close(mixed.feats.float(), plain.feats, atol=0.05, rtol=0.05)
    mixed.feats.float().square().sum().backward()
    assert layers[0].kernel.grad.dtype == torch.float32
    assert layers[0].kernel.grad.isfinite().all()


def test_kernel_maps_are_shared_between_layers():
    backend = get_backend("torch")
    x, feats, _ = random_tensor(backend, 100, 7, 2)
    first = backend.Conv3d(2, 2, 3, 2).double()(x)
    second = backend.Conv3d(2, 2, 3, 2).double()(x.replace(feats * 2))
    assert first.voxel_set is second.voxel_set
    assert len(x.voxel_set._maps) == 1
    # So that sums of the two need no search.
    assert torch.equal(backend.add(first, second).feats, first.feats + second.feats)


def test_mistakes_are_named(backend):
    coords = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]).int()
    feats = torch.ones(2, 3)
    with pytest.raises(ValueError, match="repeat"):
        backend.tensor(feats, coords[[0, 0]])
    with pytest.raises(ValueError, match="do not match"):
        backend.tensor(feats, coords[:1])
    with pytest.raises(ValueError, match="int32"):
        backend.tensor(feats, coords.long())
    with pytest.raises(ValueError, match="multiples of stride 2"):
        backend.tensor(feats, coords, stride=2)
    x = backend.tensor(feats, coords)
    with pytest.raises(ValueError, match="expected 4"):
        backend.Conv3d(4, 2, 3)(x)
    with pytest.raises(ValueError, match="cannot be upsampled"):
        backend.GenerativeConvTranspose3d(3, 2, 3)(x)
    with pytest.raises(ValueError, match=r"expected \(2,\) torch.bool"):
        backend.prune(x, torch.ones(2))
    with pytest.raises(ValueError, match=r"expected \(2, C\)"):
        x.replace(torch.ones(3, 3))
    with pytest.raises(ValueError, match="kernel_size 0"):
        backend.Conv3d(4, 2, 0)


def test_nothing_leaves_the_bounds(backend):
    bounds = (5, 4, 3)
    coords = torch.tensor([[0, 0, 0, 0], [0, 4, 3, 2], [1, 4, 0, 1]]).int()
    x = backend.tensor(torch.ones(3, 2), coords, bounds=bounds)
    coarse = backend.Conv3d(2, 2, 2, 2)(backend.Conv3d(2, 2, 2, 2)(x))
    y = backend.GenerativeConvTranspose3d(2, 2, 3)(coarse)
    y = backend.GenerativeConvTranspose3d(2, 3, 3)(backend.add(y, y))
    free = backend.tensor(coarse.feats, coarse.coords, coarse.stride)
    free = backend.GenerativeConvTranspose3d(2, 2, 3)(free)
    wanted = {
        (b, *xyz)
        for b, *xyz in generated_set(
            torch.tensor([c for c in as_set(free.coords) if inside(c, bounds)]), 3, 1
        )
        if inside((b, *xyz), bounds)
    }
    assert as_set(y.coords) == wanted
    assert y.feats.shape == (len(wanted), 3)
    with pytest.raises(ValueError, match="inside"):
        backend.tensor(torch.ones(1, 1), torch.tensor([[0, 5, 0, 0]]).int(), bounds=bounds)


def inside(voxel, bounds):
    return all(0 <= c < size for c, size in zip(voxel[1:], bounds))


def test_voxels_far_apart_are_searched():
    # A table of this box would not fit in memory.
    backend = get_backend("torch")
    edge = torch.tensor([[7, -31000, 31000, -31000], [0, 40000, 0, 0], [0, 40001, 0, 0]]).int()
    x = backend.tensor(torch.ones(3, 1), edge)
    y = backend.Conv3d(1, 1, 3, 2)(x)
    assert as_set(y.coords) == {(7, -31000, 31000, -31000), (0, 40000, 0, 0)}
    conv = backend.Conv3d(1, 1, 3)
    kernel = conv.kernel[:, 0, 0]
    expected = torch.stack([kernel[13], kernel[13] + kernel[14], kernel[13] + kernel[12]])
    torch.testing.assert_close(conv(x).feats[:, 0], expected)
    with pytest.raises(ValueError, match="crop the points"):
        backend.tensor(
            torch.ones(2, 1), torch.tensor([[0, *[-(2**31)] * 3], [0, *[2**31 - 1] * 3]]).int()
        )


def test_large_kernels_are_refused_by_the_torch_backend():
    backend = get_backend("torch")
    x, _, _ = random_tensor(backend, 20, 1, 2)
    with pytest.raises(ValueError, match="reaches further"):
        backend.Conv3d(2, 2, 7).double()(x)


def test_choice_of_backend(monkeypatch):
    assert get_backend("torch").name == "torch"
    with pytest.raises(ValueError, match="auto, minkowski, torch"):
        get_backend("spconv")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert get_backend("auto").name == "torch"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sparse, "find_spec", lambda name: None)
    assert get_backend("auto").name == "torch"


def test_missing_minkowski_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "MinkowskiEngine", None)
    monkeypatch.delitem(sys.modules, "minkocc.ops.sparse.minkowski_backend", raising=False)
    monkeypatch.delattr(sparse, "minkowski_backend", raising=False)
    with pytest.raises(UserError, match=r"make install.*model\.genunet\.backend=torch"):
        get_backend("minkowski")


@needs_minkowski
@pytest.mark.parametrize(("built", "expected"), [(True, "minkowski"), (False, "torch")])
def test_auto_takes_minkowski_where_it_was_built_for_the_gpu(built, expected, monkeypatch):
    from minkocc.ops.sparse import minkowski_backend

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(minkowski_backend, "has_cuda", lambda: built)
    assert get_backend().name == expected


@needs_minkowski
def test_minkowski_adds_only_relatives():
    backend = get_backend("minkowski")
    coords = torch.zeros(1, 4).int()
    with pytest.raises(ValueError, match="same call"):
        backend.add(*(backend.tensor(torch.ones(1, 1), coords) for _ in range(2)))


@needs_minkowski
def test_import_is_lazy_and_silent():
    import subprocess

    code = (
        "import sys, minkocc.ops.sparse as s; assert 'MinkowskiEngine' not in sys.modules;"
        "s.get_backend('torch'); assert 'MinkowskiEngine' not in sys.modules;"
        "s.get_backend('minkowski')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default:The Minkowski", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Minkowski" not in done.stdout + done.stderr
