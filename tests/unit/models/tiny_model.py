"""A MinkOcc of a few thousand parameters and a scene to feed it: a floor and a wall."""

import copy

import numpy as np
import torch
from mmengine.registry import init_default_scope

from minkocc.registry import MODELS
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.voxel_grid import VoxelGrid

SMALL_RANGE = (-8.0, -8.0, -1.0, 8.0, 8.0, 5.4)
FULL_RANGE = (-40.0, -40.0, -1.0, 40.0, 40.0, 5.4)
RAW_SIZE = (48, 64)
INPUT_SIZE = (32, 64)  # the upper 16 rows are cut off


def build(point_cloud_range=SMALL_RANGE, voxel_size=0.4, seed=0, backend="auto", **top):
    grid = {"point_cloud_range": point_cloud_range, "voxel_size": voxel_size}
    cfg = {
        "type": "MinkOcc",
        "data_preprocessor": {"type": "OccDataPreprocessor"},
        "image_encoder": {
            "type": "ImageEncoder",
            "backbone": {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8},
            "neck": {
                "type": "mmdet.FPN",
                "in_channels": [8, 16, 32, 64],
                "out_channels": 8,
                "num_outs": 4,
            },
        },
        "voxel_encoder": {
            "type": "DynamicVoxelEncoder",
            **grid,
            "point_channels": [8],
            "fusion": {
                "type": "PointFusion",
                "image_channels": 8,
                "num_levels": 4,
                "out_channels": 16,
            },
        },
        "genunet": {
            "type": "MinkGenUNet",
            **grid,
            "in_channels": 16,
            "channels": [16] * 5,
            "max_voxels": 4000,
            "backend": backend,
        },
        "semantic_head": {"type": "SemanticHead", "channels": 16},
        "pulsar_head": {"type": "PulsarHead", "channels": 16, "voxel_size": voxel_size},
        **top,
    }
    init_default_scope("minkocc")
    torch.manual_seed(seed)
    return MODELS.build(cfg)


def cameras():
    """Two wide cameras at 1.5 m, turned 15 degrees off +x so that both see the middle."""
    out = []
    for angle in (0.26, -0.26):
        cam2ego = np.eye(4)
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        cam2ego[:3, :3] = turn @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        cam2ego[:3, 3] = 0.0, 0.0, 1.5
        out.append(np.linalg.inv(cam2ego))
    return torch.tensor(np.stack(out), dtype=torch.float32)


def cam2img():
    matrix = torch.eye(4)
    matrix[:2, :3] = torch.tensor([[36.0, 0.0, 32.0], [0.0, 36.0, 24.0]])
    return matrix.expand(2, 4, 4).clone()


def semantics(grid):
    """Road (11) below, a manmade wall (15) at x = 6 m, free above and before it."""
    dense = np.full(grid.shape, 17, np.uint8)
    low = grid.to_index(np.array([-7.9, -7.9, -0.1]))
    high = grid.to_index(np.array([6.1, 7.9, 3.0]))
    dense[low[0] : high[0] + 1, low[1] : high[1] + 1, low[2]] = 11
    dense[high[0], low[1] : high[1] + 1, low[2] : high[2] + 1] = 15
    return dense


def make_batch(phase, size=1, grid=None, labels=True):
    """Collated raw inputs and samples, as the pipeline gives them."""
    grid = grid or VoxelGrid(SMALL_RANGE, 0.4)
    dense = semantics(grid)
    weak = np.where(dense < 17, 1, 0).astype(np.uint8)
    weak[:, :, grid.shape[2] // 2 :] = 255
    points, imgs, samples = [], [], []
    for number in range(size):
        rng = np.random.default_rng([7, number])
        floor = np.stack(
            [rng.uniform(-7.9, 6, 300), rng.uniform(-7.9, 7.9, 300), np.full(300, -0.1)], 1
        )
        wall = np.stack([np.full(300, 6.1), rng.uniform(-7.9, 7.9, 300), rng.uniform(0, 3, 300)], 1)
        xyz = np.concatenate([floor, wall])
        rest = np.stack([rng.random(600), np.repeat([0.0, 0.05], 300)], 1)
        points.append(torch.tensor(np.concatenate([xyz, rest], 1), dtype=torch.float32))
        imgs.append(torch.tensor(rng.integers(0, 256, (2, 3, *INPUT_SIZE)), dtype=torch.uint8))
        samples.append(_sample(phase, dense, weak, labels))
    return {"inputs": {"points": points, "imgs": imgs}, "data_samples": samples}


def _sample(phase, dense, weak, labels):
    cut = torch.eye(4)
    cut[1, 2] = -16.0
    ego2cam, intrinsics = cameras(), cam2img()
    lattice = RenderLattice.central(8)
    sample = OccDataSample(
        metainfo={
            "token": "t",
            "scene_name": "s",
            "phase": phase,
            "iteration": 0,
            "lattice": lattice,
            "raw_size": RAW_SIZE,
        }
    )
    fields = {
        "ego2img": cut @ intrinsics @ ego2cam,
        "ego2cam": ego2cam,
        "cam2img": intrinsics,
        "ego_aug": torch.eye(4),
    }
    if labels:
        ids = torch.full((2, *RAW_SIZE), 15 + 1, dtype=torch.uint8)
        ids[:, 30:] = 11 + 1
        ids[:, :4] = 18
        fields |= {
            "voxel_semantics": torch.from_numpy(dense.copy()),
            "mask_camera": torch.ones(dense.shape, dtype=torch.bool),
            "weak_occupancy": torch.from_numpy(weak.copy()),
            "img_semantics": torch.from_numpy(lattice.pick(ids.numpy())),
            "img_confidence": torch.full((2, *lattice.size(RAW_SIZE)), 230, dtype=torch.uint8),
        }
    sample.set_data(copy.copy(fields))
    return sample
