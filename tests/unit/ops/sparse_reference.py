"""Sparse convolution by dense torch convolution, for small clouds."""

import torch
import torch.nn.functional as F

from minkocc.ops.sparse import kernel_offsets

LOW, SIZE = -16, 32  # the dense grid spans [LOW, LOW + SIZE) stride-1 voxels


def random_cloud(count, seed, stride=1, batch=2, low=-5, high=5):
    """Unique coordinates in random order."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(low, high, (count, 3), generator=generator) * stride
    b = torch.randint(0, batch, (count, 1), generator=generator)
    coords = torch.cat([b, xyz], 1).unique(dim=0)
    return coords[torch.randperm(len(coords), generator=generator)].int()


def as_set(coords):
    return {tuple(row) for row in coords.tolist()}


def _cells(coords, stride):
    cells = (coords[:, 1:].long() - LOW) // stride
    return coords[:, 0].long(), *cells.unbind(1)


def _to_dense(feats, coords, stride):
    size = SIZE // stride
    batch = int(coords[:, 0].max()) + 1
    dense = feats.new_zeros(batch, size, size, size, feats.shape[1])
    return dense.index_put(_cells(coords, stride), feats).movedim(-1, 1)


def _dense_kernel(kernel, k):
    """(Cout, Cin, x, y, z) of a kernel whose offsets have x fastest."""
    return kernel.view(k, k, k, *kernel.shape[-2:]).permute(4, 3, 2, 1, 0)


def convolve(feats, coords, kernel, k, stride, factor, out_coords):
    """Values of a convolution at ``out_coords``, which lie at ``factor * stride``."""
    left = -int(kernel_offsets(k).min())
    dense = F.pad(_to_dense(feats, coords, stride), (left, k - 1 - left) * 3)
    out = F.conv3d(dense, _dense_kernel(kernel, k), stride=factor)
    b, x, y, z = _cells(out_coords, factor * stride)
    return out[b, :, x, y, z]


def convolve_transposed(feats, coords, kernel, k, stride, factor, out_coords):
    """Values of a transposed convolution at ``out_coords``, which lie at ``stride / factor``."""
    dense = _to_dense(feats, coords, stride)
    out = F.conv_transpose3d(dense, _dense_kernel(kernel, k).transpose(0, 1), stride=factor)
    fine = stride // factor
    b, *cells = _cells(out_coords, fine)
    x, y, z = (c - int(kernel_offsets(k).min()) for c in cells)
    return out[b, :, x, y, z]


def strided_set(coords, stride):
    coarse = coords.clone()
    coarse[:, 1:] = coords[:, 1:].div(stride, rounding_mode="floor") * stride
    return as_set(coarse)


def generated_set(coords, k, fine):
    offsets = kernel_offsets(k) * fine
    return {
        (b, x + dx, y + dy, z + dz)
        for b, x, y, z in coords.tolist()
        for dx, dy, dz in offsets.tolist()
    }
