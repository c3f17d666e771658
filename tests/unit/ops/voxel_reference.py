"""Voxel rendering for every pixel and voxel, densely: no walk, no boxes, no lists of hits."""

import torch


def random_voxels(seed, voxels=60, views=2, size=0.5, extent=7):
    """Voxels of a lattice around the origin, cameras among them, some with a reflection."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    cells = torch.randperm(extent**3, generator=generator)[:voxels]
    index = torch.stack([cells // extent**2, cells // extent % extent, cells % extent], 1)
    centres = (index - extent // 2 + 0.5) * size + uniform(-1, 1, 3)
    densities, features = uniform(0, 4, voxels), uniform(-1, 1, voxels, 3)
    pose = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    pose[:, :3, :3] = torch.linalg.qr(uniform(-1, 1, views, 3, 3)).Q  # either handedness
    pose[:, :3, 3] = uniform(-2.5, 2.5, views, 3)
    k = torch.zeros(views, 3, 3, dtype=torch.float64)
    k[:, 0, 0], k[:, 1, 1] = uniform(4, 12, views), uniform(4, 12, views)
    k[:, 0, 2], k[:, 1, 2] = uniform(2, 10, views), uniform(1, 8, views)
    k[:, 0, 1], k[:, 2, 2] = uniform(-1, 1, views), 1.0
    return centres, densities, features, pose, k


def chords(centres, size, origin, ray, depth_range):
    """Where a ray enters and leaves each voxel, metres; empty where far <= near."""
    low, high = centres - size / 2 - origin, centres + size / 2 - origin
    first, last = low / ray, high / ray
    near = torch.minimum(first, last).amax(1).clamp_min(depth_range[0])
    far = torch.maximum(first, last).amin(1).clamp_max(depth_range[1])
    return near, far


def render_dense(centres, size, densities, features, pose, intrinsics, image_size, settings):
    h, w = image_size
    images, coverages, depths = [], [], []
    for matrix, k in zip(pose, intrinsics):
        turn, shift = matrix[:3, :3], matrix[:3, 3]
        origin = -turn.T @ shift
        for v in range(h):
            for u in range(w):
                y = (v + 0.5 - k[1, 2]) / k[1, 1]
                x = (u + 0.5 - k[0, 2] - k[0, 1] * y) / k[0, 0]
                ray = torch.stack([x, y, torch.ones_like(x)])
                ray = turn.T @ (ray / ray.norm())
                near, far = chords(
                    centres, size, origin, ray, (settings.min_depth, settings.max_depth)
                )
                chosen = (far > near).nonzero()[:, 0]
                chosen = chosen[near[chosen].argsort()][: settings.max_hits]
                passed, weight = torch.ones((), dtype=ray.dtype), []
                for voxel in chosen:
                    kept = (-densities[voxel] * (far - near)[voxel] / size).exp()
                    weight.append(passed * (1 - kept))
                    passed = passed * kept
                weight = torch.stack(weight) if weight else features.new_zeros(0)
                images.append(weight @ features[chosen])
                coverages.append(weight.sum())
                middle = (near + far)[chosen] / 2
                depths.append((weight * middle).sum() / weight.sum().clamp_min(1e-300))
    shape = (len(pose), h, w)
    image = torch.stack(images).view(*shape, -1).permute(0, 3, 1, 2)
    return image, torch.stack(coverages).view(shape), torch.stack(depths).view(shape)
