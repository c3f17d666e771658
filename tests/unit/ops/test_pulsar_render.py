"""Pulsar beside our spheres where pytorch3d is installed, and a line of help where it is not."""

import sys

import pytest
import torch

from minkocc.models.renderers import build_renderer
from minkocc.ops.pulsar_render import render_pulsar
from minkocc.ops.sphere_render import RenderSettings, render_spheres
from minkocc.structures.settings import SettingError

SIZE = (112, 200)
SHARPNESS = (1.0, 60.0), 8, 3e-3, 1e-6
ALL_HITS = RenderSettings(max_hits=32)  # of more than it counts, Pulsar leaves out others


def cameras():
    """Two, off-centre by whole pixels; the second one is mirrored and moved."""
    look = torch.eye(4).double()
    look[:3, :3] = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    moved = look.clone()
    moved[:3, 3] = torch.tensor([0.5, -0.3, 0.2])
    moved[0] *= -1
    one = torch.tensor([[160.0, 0, 97], [0, 160, 61], [0, 0, 1]]).double()
    other = torch.tensor([[150.0, 0, 110], [0, 150, 50], [0, 0, 1]]).double()
    return torch.stack([look, moved]), torch.stack([one, other])


def spheres(count=3000):
    """Centres, radii of more than a pixel, opacities and features."""
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(count, 3, generator=generator) * torch.tensor([30.0, 20.0, 5.0])
    radii = 0.3 + 0.15 * torch.rand(count, generator=generator)
    opacities = 0.5 + 0.5 * torch.rand(count, generator=generator)
    features = torch.randn(count, 6, generator=generator)
    return place + torch.tensor([5.0, -10.0, -2.0]), radii, opacities, features


def rendered(function, *inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves, *cameras(), SIZE, ALL_HITS)
    (out.features.square().sum() + out.coverage.sum()).backward()
    return out, [leaf.grad for leaf in leaves]


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.points", None)
    with pytest.raises(SettingError, match=r"'pytorch3d' needs pytorch3d.*docs/rendering.md"):
        build_renderer("pytorch3d", 0.4, *SHARPNESS)
    with pytest.raises(SettingError, match="needs pytorch3d"):
        render_pulsar(*spheres(2), *cameras(), SIZE)


def test_what_pulsar_cannot_draw_is_refused():
    ego2cam, cam2img = cameras()
    cam2img[1, 1, 1] = 170.0
    with pytest.raises(ValueError, match="camera 1 has focal lengths 150 and 170: Pulsar knows"):
        render_pulsar(*spheres(2), ego2cam, cam2img, SIZE)
    centres, radii, *others = spheres(2)
    with pytest.raises(ValueError, match=r"radii has shape \(1,\)"):
        render_pulsar(centres, radii[:1], *others, *cameras(), SIZE)


def test_images_are_those_of_our_spheres():
    """Up to Pulsar's approximate exp, which tells where two spheres are equally near; and at the
    rim, where a pixel may fall to either side."""
    pytest.importorskip("pytorch3d")
    expected, _ = rendered(render_spheres, *spheres())
    found, _ = rendered(render_pulsar, *spheres())
    assert 0.5 < expected.coverage.mean() < 0.99
    apart = (found.features - expected.features).abs().amax(1)
    size = expected.features.abs().amax(1).clamp_min(0.1)
    assert (apart > 0.05 * size).float().mean() < 2e-3
    assert ((found.coverage - expected.coverage).abs() > 0.01).float().mean() < 1e-3


def test_gradients_have_our_sign_and_another_length():
    pytest.importorskip("pytorch3d")
    _, expected = rendered(render_spheres, *spheres())
    _, found = rendered(render_pulsar, *spheres())
    for here, there in zip(found, expected):
        clear = (there.abs() > 0.01 * there.abs().max()) & (here != 0)
        assert clear.sum() > 20
        assert (here.sign() == there.sign())[clear].float().mean() > 0.95
        assert here.norm() < there.norm()


def test_no_sphere_and_no_camera():
    pytest.importorskip("pytorch3d")
    ego2cam, cam2img = cameras()
    nothing = [x[:0] for x in spheres(1)]
    assert not render_pulsar(*nothing, ego2cam, cam2img, SIZE).coverage.any()
    out = render_pulsar(*spheres(5), ego2cam[:0], cam2img[:0], SIZE)
    assert out.features.shape == (0, 6, *SIZE)


def test_the_renderer_of_that_name():
    pytest.importorskip("pytorch3d")
    centres, _, _, features = spheres()
    raw = torch.zeros(len(centres), 2)
    found, expected = (
        build_renderer(name, 0.4, *SHARPNESS)(raw, features, centres, *cameras(), SIZE)
        for name in ("pytorch3d", "spheres")
    )
    assert (found.coverage - expected.coverage).abs().mean() < 1e-3
