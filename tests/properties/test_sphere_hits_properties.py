"""Both hit finders against each other and against a search of every pixel and sphere."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops.sphere_hits import find_hits, pixel_rays
from tests.unit.ops.sphere_reference import random_scene

SIZE = (7, 11)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    spheres=st.integers(1, 40),
    max_hits=st.integers(1, 6),
    near=st.sampled_from([0.0, 0.1, 1.0]),
    scale=st.sampled_from([0.05, 1.0, 3.0]),
)
def test_finders_miss_nothing(seed, spheres, max_hits, near, scale):
    centres, radii, _, _, pose, k = random_scene(seed, spheres=spheres, views=1)
    centres, radii = centres @ pose[0, :3, :3].T, radii * scale
    (rays,) = pixel_rays(k, SIZE)
    arguments = (centres[None], radii[None], rays[None], k, SIZE, (near, 8.0), max_hits)
    (hits,) = find_hits(*arguments, finder="numba")
    assert torch.equal(hits, find_hits(*arguments, finder="torch")[0])

    along = rays @ centres.T
    inside = radii**2 - (centres - along[..., None] * rays[:, None]).square().sum(-1)
    depth = along - inside.clamp_min(0).sqrt()
    depth = torch.where((inside > 0) & (depth >= near) & (depth <= 8.0), depth, torch.inf)
    nearest = depth.sort(dim=1)
    for pixel in range(len(rays)):
        found = nearest.indices[pixel][nearest.values[pixel] < torch.inf][:max_hits].tolist()
        assert hits[pixel].tolist() == found + [-1] * (max_hits - len(found))
