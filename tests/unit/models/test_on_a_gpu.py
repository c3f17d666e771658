"""The network on a card beside the network on a CPU: losses, gradients and predictions."""

import pytest
import torch

from minkocc.ops.sphere_render import render_spheres
from minkocc.ops.voxel_render import render_voxels
from minkocc.structures.phase import Phase
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.models.test_mink_genunet import BACKENDS
from tests.unit.models.tiny_model import FULL_RANGE, build, cam2img, cameras, make_batch

pytestmark = pytest.mark.gpu
GRID = VoxelGrid(FULL_RANGE, 0.4)


@pytest.fixture(autouse=True)
def full_precision():
    """What is compared here is the code, not TF32's ten bits."""
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(former)
    torch.backends.cudnn.allow_tf32 = True


def network(backend, device):
    """An untrained network that keeps some voxels of every level."""
    model = build(FULL_RANGE, backend=backend)
    model.genunet.set_thresholds([0.04] * 4)
    model.genunet.train_thresholds.fill_(0.04)
    model.genunet.max_voxels = 400_000
    return model.to(device)


def step(backend, device, phase):
    """(losses, gradients) on the CPU."""
    model = network(backend, device).train()
    data = model.data_preprocessor(make_batch(phase, size=2, grid=GRID), training=True)
    terms = model(**data, mode="loss")
    sum(term for name, term in terms.items() if name.startswith("loss")).backward()
    gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return {name: term.detach().cpu() for name, term in terms.items()}, gradients


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", list(Phase))
def test_losses_and_gradients_are_those_of_the_cpu(backend, phase):
    losses, gradients = step(backend, "cuda", phase)
    expected_losses, expected = step("torch", "cpu", phase)
    assert losses.keys() == expected_losses.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected_losses[name], rtol=1e-3, atol=1e-5, msg=name)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        apart = (gradient - expected[name]).norm() / expected[name].norm().clamp_min(1e-6)
        assert apart < 1e-2, (name, apart)


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_are_those_of_the_cpu(backend):
    found, expected = (
        network(name, device).eval() for name, device in ((backend, "cuda"), ("torch", "cpu"))
    )
    with torch.no_grad():
        (here,), (there,) = (
            model(**model.data_preprocessor(make_batch(None, grid=GRID)), mode="predict")
            for model in (found, expected)
        )
    same = here.pred_semantics.cpu() == there.pred_semantics.cpu()
    assert (there.pred_semantics != 17).sum() > 1000
    assert same.float().mean() > 0.9999


def test_spheres_are_rendered_as_on_the_cpu():
    generator = torch.Generator().manual_seed(3)
    centres = torch.rand(20_000, 3, generator=generator) * torch.tensor([40.0, 40.0, 6.0])
    centres -= torch.tensor([0.0, 20.0, 1.0])
    inputs = [
        centres,
        0.1 + 0.2 * torch.rand(len(centres), generator=generator),
        torch.rand(len(centres), generator=generator),
        torch.randn(len(centres), 16, generator=generator),
    ]
    compare_images(inputs, render_spheres)


def test_voxels_are_rendered_as_on_the_cpu():
    """The card intersects each voxel, the CPU walks from one to the next."""
    generator = torch.Generator().manual_seed(4)
    index = (torch.rand(100, 100, 16, generator=generator) < 0.1).nonzero()
    inputs = [
        4 * torch.rand(len(index), generator=generator),
        torch.randn(len(index), 16, generator=generator),
    ]

    def render(densities, values, *views):
        centres = (index.to(values.device) + 0.5) * 0.4 - values.new_tensor([0.0, 20.0, 1.0])
        return render_voxels(centres, 0.4, densities, values, *views)

    compare_images(inputs, render)


def compare_images(inputs, render):
    """Images and gradients on the card beside those of the CPU."""
    images, gradients = [], []
    for device in ("cuda", "cpu"):
        leaves = [x.to(device).requires_grad_() for x in inputs]
        views = cameras().to(device), cam2img()[:, :3, :3].contiguous().to(device)
        out = render(*leaves, *views, (48, 64))
        (out.features.square().sum() + out.coverage.sum()).backward()
        images.append((out.features.detach().cpu(), out.coverage.detach().cpu()))
        gradients.append([leaf.grad.cpu() for leaf in leaves])
    assert images[1][1].mean() > 0.1
    for here, there in zip(*images):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)
    for here, there in zip(*gradients):
        assert (here - there).norm() / there.norm() < 1e-3
