import copy

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from minkocc.models.voxel_encoder import NoPointsError
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.models.tiny_model import SMALL_RANGE, build, make_batch

GRID = VoxelGrid(SMALL_RANGE, 0.4)
MEAN = {"type": "mmdet3d.HardSimpleVFE", "num_features": 5}
FIXED_POINTS = {
    "type": "mmdet3d.HardVFE", "in_channels": 5, "feat_channels": [8, 16],
    "with_cluster_center": True, "with_voxel_center": True, "voxel_size": (0.4,) * 3,
    "point_cloud_range": SMALL_RANGE,
}  # fmt: skip
PILLARS = {
    "type": "mmdet3d.PillarFeatureNet", "in_channels": 5, "feat_channels": [16],
    "voxel_size": (0.4,) * 3, "point_cloud_range": SMALL_RANGE, "legacy": False,
}  # fmt: skip
FUSION = {"type": "PointFusion", "image_channels": 8, "num_levels": 4, "out_channels": 16}


def make(encoder=MEAN, channels=5, **more):
    init_default_scope("minkocc")
    grid = {"point_cloud_range": SMALL_RANGE, "voxel_size": 0.4}
    cfg = {"type": "HardVoxelEncoder", **grid, "encoder": encoder, "channels": channels, **more}
    return MODELS.build(cfg)


def encode(encoder, points):
    return encoder(points, [], torch.eye(4).expand(len(points), 1, 4, 4), (32, 64))


def clouds(sizes=(300, 200), seed=0):
    """Points in a few dozen voxels, and some outside of the grid."""
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.uniform(-1, 1.2, (n, 5)), dtype=torch.float32) for n in sizes]


def by_voxel(points):
    """The points of every voxel, in their order, by its coordinates."""
    found = {}
    for sample, cloud in enumerate(points):
        for point in cloud.numpy():
            index = np.floor((point[:3].astype(np.float64) - SMALL_RANGE[:3]) / 0.4).astype(int)
            if (index >= 0).all() and (index < GRID.shape).all():
                found.setdefault((sample, *index.tolist()), []).append(point)
    return found


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_the_first_points_of_a_voxel_reach_the_encoder(most):
    points = clouds()
    expected = by_voxel(points)
    assert max(map(len, expected.values())) > 3
    feats, coords = encode(make(max_points=most), points)
    assert list(map(tuple, coords.tolist())) == sorted(expected)
    for row, feat in zip(coords.tolist(), feats):
        mean = np.mean(expected[tuple(row)][:most], axis=0)
        np.testing.assert_allclose(feat.numpy(), mean, atol=1e-6)


def test_the_voxels_centre_is_where_mmdet3d_thinks_it_is():
    """It counts z, y, x: an encoder of offsets to the centre sees at most half a voxel."""
    encoder = make(FIXED_POINTS, 16)
    seen = []
    encoder.encoder.vfe_layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    encode(encoder.eval(), clouds())
    offsets = seen[0][..., 8:11]
    assert offsets.abs().max() <= 0.2 + 1e-4
    assert offsets.abs().amax((0, 1)).min() > 0.15


@pytest.mark.parametrize("kind", [FIXED_POINTS, PILLARS], ids=lambda kind: kind["type"])
@pytest.mark.parametrize("fusion", [None, FUSION], ids=["lidar", "fused"])
@pytest.mark.parametrize("phase", [Phase.WARM, Phase.WEAK])
def test_a_network_learns_with_it(kind, fusion, phase):
    grid = {"point_cloud_range": SMALL_RANGE, "voxel_size": 0.4}
    encoder = {"type": "HardVoxelEncoder", **grid, "encoder": kind, "channels": 16}
    top = {} if fusion else {"image_encoder": None}
    model = build(voxel_encoder={**encoder, "fusion": fusion}, **top).train()
    batch = model.data_preprocessor(make_batch(phase, size=2), training=True)
    losses = model(**batch, mode="loss")
    sum(value for name, value in losses.items() if "loss" in name).backward()
    learning = [model.voxel_encoder, model.image_encoder] if fusion else [model.voxel_encoder]
    for part in learning:
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_images_are_taken_where_a_voxels_points_lie():
    """Of one point a voxel, what joins them is what joins the points."""
    batch = make_batch(Phase.WARM, size=2)
    model = build().eval()
    points = [cloud[::60] for cloud in batch["inputs"]["points"]]
    inputs = model.data_preprocessor(copy.deepcopy(batch))["inputs"]
    levels = model.image_encoder(inputs["imgs"])
    ego2img = torch.stack([sample.ego2img for sample in batch["data_samples"]])
    encoder = make(fusion=FUSION).eval()
    feats, coords = encoder(points, levels, ego2img, inputs["imgs"].shape[-2:])
    assert len(coords) == sum(map(len, points)) == 20
    index = [GRID.to_index(cloud[:, :3]).tolist() for cloud in points]
    places = [[sample, *place] for sample, rows in enumerate(index) for place in rows]
    order = [places.index(row) for row in coords.tolist()]
    xyz = [cloud[:, :3] for cloud in points]
    alone = encoder.fusion(xyz, torch.cat(points), levels, ego2img, inputs["imgs"].shape[-2:])
    torch.testing.assert_close(feats, alone[order])
    assert (feats != 0).any()


def test_a_width_that_is_not_the_encoders_is_told():
    with pytest.raises(ValueError, match=r"gives \(\d+, 5\).*channels is 7"):
        encode(make(channels=7), clouds())


@pytest.mark.parametrize("most", [0, -1, None])
def test_no_points_at_all_are_refused(most):
    with pytest.raises(UserError, match=r"HardVoxelEncoder\.max_points"):
        make(max_points=most)


def test_a_sample_without_points_is_named():
    with pytest.raises(NoPointsError, match="sample 1 of the batch"):
        encode(make(), [clouds()[0], torch.full((4, 5), 90.0)])
