"""Eq. 2 for every pixel and sphere, densely, without logarithms, boxes or lists of hits."""

import torch


def random_scene(seed, spheres=40, views=2, dtype=torch.float64):
    """Spheres around the origin seen by cameras near it, some behind, some out of view."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    centres = uniform(-1, 1, spheres, 3) * torch.tensor([6.0, 4.0, 9.0])
    radii, opacities = uniform(0.4, 1.6, spheres), uniform(0.05, 1.0, spheres)
    features = uniform(-1, 1, spheres, 3)
    pose = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    pose[:, :3, :3] = torch.linalg.qr(uniform(-1, 1, views, 3, 3)).Q
    pose[0, :3, :3] = torch.eye(3)
    pose[:, :3, 3] = uniform(-0.5, 0.5, views, 3)
    intrinsics = torch.zeros(views, 3, 3, dtype=torch.float64)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = uniform(6, 14, views), uniform(6, 14, views)
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = uniform(2, 10, views), uniform(1, 8, views)
    intrinsics[:, 0, 1], intrinsics[:, 2, 2] = uniform(-1, 1, views), 1.0
    scene = (centres, radii, opacities, features, pose, intrinsics)
    return tuple(x.to(dtype) for x in scene)


def render_dense(centres, radii, opacities, features, pose, intrinsics, size, settings):
    h, w = size
    images, coverages = [], []
    for matrix, k in zip(pose, intrinsics):
        image, coverage = [], []
        c = centres @ matrix[:3, :3].T + matrix[:3, 3]
        focal = min(float(k[0, 0]), float(k[1, 1]))
        big = torch.maximum(radii, settings.min_radius_px * c[:, 2] / focal)
        for v in range(h):
            for u in range(w):
                y = (v + 0.5 - k[1, 2]) / k[1, 1]
                x = (u + 0.5 - k[0, 2] - k[0, 1] * y) / k[0, 0]
                ray = torch.stack([x, y, torch.ones_like(x)])
                ray = ray / ray.norm()
                along = c @ ray
                distance = torch.linalg.cross(c, ray.expand_as(c)).norm(dim=1)
                inside = distance < big
                depth = along - (big**2 - distance**2).clamp_min(1e-30).sqrt()
                hit = inside & (settings.min_depth <= depth) & (depth <= settings.max_depth)
                chosen = hit.nonzero()[:, 0]
                chosen = chosen[depth[chosen].argsort()][: settings.max_hits]
                z = 1 - (depth - settings.min_depth) / (settings.max_depth - settings.min_depth)
                weight = opacities * (1 - distance / big) * (opacities * z / settings.gamma).exp()
                weight = weight[chosen]
                background = torch.tensor(settings.eps / settings.gamma, dtype=c.dtype).exp()
                share = weight / (background + weight.sum())
                image.append(share @ features[chosen])
                coverage.append(share.sum())
        images.append(torch.stack(image).T.reshape(-1, h, w))
        coverages.append(torch.stack(coverage).view(h, w))
    return torch.stack(images), torch.stack(coverages)
