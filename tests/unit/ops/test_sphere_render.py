"""Sphere rendering against worked values and a dense reference."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from minkocc.ops import sphere_hits
from minkocc.ops.sphere_hits import find_hits, pixel_rays
from minkocc.ops.sphere_render import RenderSettings, render_spheres, scale_intrinsics
from tests.unit.ops.sphere_reference import random_scene, render_dense

SIZE = (9, 12)
SOFT = RenderSettings(gamma=0.2, eps=0.05, min_depth=0.5, max_depth=12.0, max_hits=40)
FINDERS = ["numba", "torch"]


def axis_camera(size=(1, 1), focal=1.0):
    """One camera at the origin that looks along z through the middle of the image."""
    k = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    return torch.eye(4)[None].double(), k[None].double()


def on_axis(*spheres):
    """(x, depth, radius, opacity) of each sphere; its feature is one-hot."""
    x, z, radius, opacity = torch.tensor(spheres, dtype=torch.float64).T
    centres = torch.stack([x, torch.zeros_like(x), z], 1)
    return centres, radius, opacity, torch.eye(len(spheres)).double()


@pytest.mark.parametrize("finder", FINDERS)
def test_two_spheres_by_hand(finder):
    settings = RenderSettings(0.5, 0.1, 1.0, 11.0, min_radius_px=0, finder=finder)
    out = render_spheres(
        *on_axis((0.0, 3.0, 1.0, 0.5), (0.5, 5.0, 1.0, 0.8)), *axis_camera(), (1, 1), settings
    )
    w1 = 0.5 * 1.0 * math.exp(0.5 * 0.9 / 0.5)  # entered at depth 2
    w2 = 0.8 * 0.5 * math.exp(0.8 * (1 - (5 - math.sqrt(0.75) - 1) / 10) / 0.5)
    total = w1 + w2 + math.exp(0.1 / 0.5)
    np.testing.assert_allclose(out.features[0, :, 0, 0], [w1 / total, w2 / total], rtol=1e-12)
    np.testing.assert_allclose(out.coverage[0, 0, 0], (w1 + w2) / total, rtol=1e-12)


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize("max_hits", [40, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_and_gradients_equal_the_dense_reference(seed, max_hits, finder):
    settings = replace(SOFT, max_hits=max_hits, finder=finder)
    scene = random_scene(seed)
    inputs = [x.requires_grad_() for x in scene[:4]]
    out = render_spheres(*scene, SIZE, settings)
    expected = render_dense(*scene, SIZE, settings)
    assert out.coverage.max() > 0.5
    grads = []
    for image, coverage in (out, expected):
        loss = (image * torch.linspace(-1, 1, image.numel()).view_as(image)).sum()
        loss = loss + (coverage * torch.linspace(0, 1, coverage.numel()).view_as(coverage)).sum()
        grads.append(torch.autograd.grad(loss, inputs))
    torch.testing.assert_close(out.features, expected[0])
    torch.testing.assert_close(out.coverage, expected[1])
    for got, want in zip(*grads):
        assert want.abs().max() > 0
        torch.testing.assert_close(got, want)


def test_gradcheck():
    scene = random_scene(3, spheres=5, views=1)
    inputs = [x.requires_grad_() for x in scene[:4]]

    def render(*values):
        return render_spheres(*values, *scene[4:], (4, 5), replace(SOFT, max_hits=2))

    assert torch.autograd.gradcheck(render, inputs)


@pytest.mark.parametrize("finder", FINDERS)
def test_cameras_have_gradients_too(finder):
    scene = random_scene(4)
    pose, k = scene[4].requires_grad_(), scene[5].requires_grad_()
    settings = replace(SOFT, finder=finder)
    render_spheres(*scene, SIZE, settings).coverage.sum().backward()
    for grad in (pose.grad[:, :3], k.grad[:, :2]):
        assert grad.abs().sum() > 0
        assert grad.isfinite().all()


def test_float32_is_close_to_float64():
    settings = RenderSettings(min_depth=0.5, max_depth=12.0)
    double = render_spheres(*random_scene(5), SIZE, settings)
    single = render_spheres(*random_scene(5, dtype=torch.float32), SIZE, settings)
    assert single.features.dtype == torch.float32
    assert double.features.dtype == torch.float64
    torch.testing.assert_close(single.features.double(), double.features, atol=1e-3, rtol=1e-3)


def test_nearest_opaque_sphere_wins_at_small_gamma():
    spheres = on_axis((0.0, 5.0, 0.3, 1.0), (0.0, 5.4, 0.3, 1.0), (0.0, 9.0, 0.3, 1.0))
    out = render_spheres(*spheres, *axis_camera(focal=100.0), (1, 1), RenderSettings(gamma=1e-3))
    assert out.features[0, 0, 0, 0] > 0.99
    assert out.coverage[0, 0, 0] == pytest.approx(1.0)


def test_opacity_sits_in_the_exponent():
    # Eq. 2 lets an opaque sphere far away beat a translucent one nearby.
    spheres = on_axis((0.0, 5.0, 0.3, 0.5), (0.0, 9.0, 0.3, 1.0))
    out = render_spheres(*spheres, *axis_camera(focal=100.0), (1, 1), RenderSettings())
    assert out.features[0, 1, 0, 0] > 0.99


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize(
    "sphere",
    [
        (0.0, -5.0, 1.0, 1.0),  # behind
        (0.0, 0.2, 1.0, 1.0),  # around the camera
        (0.0, 1.2, 1.0, 1.0),  # entered before min_depth
        (0.0, 70.0, 1.0, 1.0),  # entered after max_depth
        (9.0, 5.0, 1.0, 1.0),  # beside the image
        (0.0, 5.0, 1.0, 0.0),  # transparent
        (math.nan, 5.0, 1.0, 1.0),
    ],
)
def test_what_is_not_seen_gives_background(sphere, finder):
    settings = RenderSettings(finder=finder)
    spheres = [x.requires_grad_() for x in on_axis(sphere)]
    out = render_spheres(*spheres, *axis_camera((3, 4), 4.0), (3, 4), settings)
    assert not out.features.any()
    assert not out.coverage.any()
    (out.features.sum() + out.coverage.sum()).backward()
    for x in spheres[1:]:
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_the_extremes(finder, dtype):
    # Rays through the centre and at the rim, opacities 0 and nearly 0, a sphere of no radius.
    spheres = on_axis(
        (0.0, 5.0, 1.0, 1.0),
        (1.0 - 1e-7, 5.0, 1.0, 1.0),
        (1.0, 5.0, 1.0, 1.0),
        (0.0, 6.0, 1.0, 0.0),
        (0.0, 7.0, 1.0, 1e-40),
        (0.0, 8.0, 0.0, 1.0),
    )
    spheres = [x.to(dtype).requires_grad_() for x in spheres]
    settings = RenderSettings(gamma=1e-3, min_radius_px=0, finder=finder)
    out = render_spheres(*spheres, *axis_camera((3, 3), 1.0), (3, 3), settings)
    assert out.features.isfinite().all()
    assert out.coverage.max() <= 1
    (out.features.square().sum() + out.coverage.sum()).backward()
    for x in spheres:
        assert x.grad.isfinite().all()


def test_a_transparent_sphere_can_become_opaque():
    # dw/do = d at o = 0; with nothing else in the pixel, that is the slope of the coverage.
    centres, radii, _, features = on_axis((0.0, 5.0, 1.0, 0.0))
    opacity = torch.zeros(1).double().requires_grad_()
    out = render_spheres(centres, radii, opacity, features, *axis_camera(), (1, 1), SOFT)
    out.coverage.sum().backward()
    assert opacity.grad.item() == pytest.approx(math.exp(-SOFT.eps / SOFT.gamma))


def test_moved_principal_point_moves_the_image_by_whole_pixels():
    centres, radii, opacities, features, pose, k = random_scene(6)
    moved = k.clone()
    moved[:, 0, 2] += 2
    moved[:, 1, 2] -= 1
    one = render_spheres(centres, radii, opacities, features, pose, k, SIZE, SOFT)
    two = render_spheres(centres, radii, opacities, features, pose, moved, SIZE, SOFT)
    torch.testing.assert_close(two.features[..., :-1, 2:], one.features[..., 1:, :-2])
    torch.testing.assert_close(two.coverage[..., :-1, 2:], one.coverage[..., 1:, :-2])


@pytest.mark.parametrize("finder", FINDERS)
def test_tiny_far_spheres_cover_a_pixel_wherever_they_fall(finder):
    generator = torch.Generator().manual_seed(0)
    xy = (torch.rand(50, 2, generator=generator).double() - 0.5) * 10
    pose, k = axis_camera((40, 60), 100.0)
    k[0, 1, 1] = 80.0
    for x, y in xy.tolist():
        sphere = (torch.tensor([[x, y, 50.0]]).double(), torch.tensor([0.02]).double())
        rest = (torch.ones(1).double(), torch.ones(1, 1).double(), pose, k, (40, 60))
        assert render_spheres(*sphere, *rest, RenderSettings(finder=finder)).coverage.any()
    bare = RenderSettings(min_radius_px=0, finder=finder)
    assert not render_spheres(*sphere, *rest, bare).coverage.any()


def test_finders_agree_when_they_work_in_pieces(monkeypatch):
    monkeypatch.setattr(sphere_hits, "_MAX_CANDIDATES", 40)
    for seed in range(5):
        centres, radii, *_, k = random_scene(seed, spheres=40)
        views = torch.stack([centres, centres + 0.3]), torch.stack([radii, 0.7 * radii])
        arguments = (*views, pixel_rays(k, SIZE), k, SIZE, (0.5, 9.0), 3)
        hits = [find_hits(*arguments, finder=finder) for finder in FINDERS]
        assert (hits[0] >= 0).flatten(1).any(1).all()
        assert torch.equal(hits[0], hits[1])


@pytest.mark.parametrize("finder", FINDERS)
def test_equal_depths_are_ordered_by_index(finder):
    centres, radii, _, _ = on_axis(*[(0.0, 5.0, 1.0, 1.0)] * 4)
    k = axis_camera()[1]
    rays = pixel_rays(k, (1, 1))
    hits = find_hits(centres[None], radii[None], rays, k, (1, 1), (1.0, 9.0), 3, finder)
    assert hits.tolist() == [[[0, 1, 2]]]


@pytest.mark.parametrize("finder", FINDERS)
def test_no_spheres_and_no_views(finder):
    settings = RenderSettings(finder=finder)
    _, _, _, _, pose, k = random_scene(0)
    empty = [torch.zeros(0, *s).requires_grad_() for s in [(3,), (), (), (5,)]]
    out = render_spheres(*empty, pose, k, SIZE, settings)
    assert out.features.shape == (2, 5, *SIZE)
    assert out.coverage.shape == (2, *SIZE)
    assert not out.features.any()
    out.features.sum().backward()  # stays part of the graph
    assert render_spheres(*empty, pose[:0], k[:0], SIZE, settings).features.shape == (0, 5, *SIZE)


def test_autocast_does_not_reach_the_renderer():
    scene = random_scene(7, dtype=torch.float32)
    plain = render_spheres(*scene, SIZE, SOFT)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = render_spheres(*scene, SIZE, SOFT)
    assert torch.equal(plain.features, mixed.features)


def test_scaled_intrinsics_project_to_scaled_pixels():
    k = torch.tensor([[1266.417, 0.0, 816.27], [0.0, 1260.0, 491.51], [0.0, 0.0, 1.0]])
    point = torch.tensor([1.0, -0.5, 8.0])
    full, small = k @ point, scale_intrinsics(k[None], 1 / 8, offset=(16, 4))[0] @ point
    expected = (full[:2] / full[2] - torch.tensor([16.0, 4.0])) / 8
    torch.testing.assert_close(small[:2] / small[2], expected)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"gamma": 0.0}, "gamma"),
        ({"min_depth": 5.0, "max_depth": 5.0}, "min_depth"),
        ({"max_hits": 0}, "max_hits"),
        ({"finder": "cuda"}, "auto, numba, torch"),
    ],
)
def test_senseless_settings_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        RenderSettings(**change)


def test_wrong_arguments_are_named():
    scene = list(random_scene(0))
    with pytest.raises(ValueError, match="radii has shape"):
        render_spheres(scene[0], scene[1][:3], *scene[2:], SIZE)
    k = scene[5][:1]
    view = scene[0][None], scene[1][None], pixel_rays(k, SIZE)
    with pytest.raises(ValueError, match="unknown finder"):
        find_hits(*view, k, SIZE, (1.0, 9.0), 3, "cuda")
