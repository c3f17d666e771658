"""The whole model under autocast, in every phase and on both sparse backends."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minkocc.models.pulsar_head import PulsarHead
from minkocc.ops.point_sampling import project_points
from minkocc.ops.sparse import SparseConvolution
from minkocc.structures.phase import Phase
from tests.unit.models.test_mink_genunet import BACKENDS
from tests.unit.models.tiny_model import build, make_batch

HALF = {"cpu": torch.bfloat16, "cuda": torch.float16}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return request.param


def losses_of(model, phase, device, half):
    inputs = model.data_preprocessor(make_batch(phase, size=2), training=True)
    with torch.autocast(device, dtype=HALF[device], enabled=half):
        return model(**inputs, mode="loss")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", list(Phase))
def test_losses_are_those_of_single_precision(backend, phase, device):
    model = build(backend=backend).train().to(device)
    expected = losses_of(model, phase, device, half=False)
    found = losses_of(model, phase, device, half=True)
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert loss.dtype == torch.float32, name
        # Eight bits of mantissa through some forty layers; pruning decides a few voxels otherwise.
        torch.testing.assert_close(loss, expected[name], rtol=0.1, atol=0.02, msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", list(Phase))
def test_every_gradient_is_finite_and_in_single_precision(backend, phase, device):
    model = build(backend=backend).train().to(device)
    sum(losses_of(model, phase, device, half=True).values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.dtype == torch.float32, name
            assert parameter.grad.isfinite().all(), name
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(name.startswith("pulsar_head.sphere") for name in idle)
    assert bool(idle) == (phase is Phase.WARM)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_trunk_is_half_only_where_the_backend_can(backend, device):
    model = build(backend=backend).train().to(device)
    seen = set()
    for module in model.genunet.modules():
        if isinstance(module, SparseConvolution):
            module.register_forward_hook(lambda _, __, out: seen.add(out.feats.dtype))
    losses_of(model, Phase.WEAK, device, half=True)
    assert seen == {torch.float32 if backend == "minkowski" else HALF[device]}


class Products(TorchDispatchMode):
    """Notes type and allowed rounding of every matrix product."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._schema.name in ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"):
            self.seen.add((out.dtype, torch.get_float32_matmul_precision()))
        return out


@pytest.fixture
def tf32():
    """What a card is set to."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def test_coordinates_are_multiplied_in_full_precision(tf32, monkeypatch):
    """Neither autocast nor TF32, of ten bits each, reaches points, voxel centres or cameras."""
    places = {}

    def noted(name, call):
        def wrapper(*args, **kwargs):
            with Products() as products:
                out = call(*args, **kwargs)
            places.setdefault(name, set()).update(products.seen)
            return out

        return wrapper

    monkeypatch.setattr(
        "minkocc.models.point_fusion.project_points", noted("points", project_points)
    )
    monkeypatch.setattr(PulsarHead, "_project", noted("spheres", PulsarHead._project))
    losses_of(build(backend="torch").train(), Phase.WEAK, "cpu", half=True)
    assert set(places) == {"points", "spheres"}
    for name, seen in places.items():
        assert seen, name
        assert all(
            dtype == torch.float64 or (dtype, precision) == (torch.float32, "highest")
            for dtype, precision in seen
        ), (name, seen)
    assert torch.get_float32_matmul_precision() == "high"
