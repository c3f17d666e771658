"""What the table-based operations replaced: voxels by sorting, neighbours by search, one offset of
a kernel at a time, gathered, multiplied and scattered."""

import torch

from minkocc.ops.sparse import kernel_offsets

_SPAN = 1 << 15  # more than any grid here, also after a step out of it


def keys_of(coords):
    b, x, y, z = (coords.long() + torch.tensor([0, 8, 8, 8])).unbind(1)
    return ((b * _SPAN + x) * _SPAN + y) * _SPAN + z


def voxelize(points, grid):
    """Unique voxels in lexicographic order, and the row of every point inside (else -1)."""
    index = grid.to_index(points[:, :3])
    inside = grid.contains(index) & points.isfinite().all(1)
    coords, rows = torch.unique(index[inside], dim=0, return_inverse=True)
    point2voxel = torch.full((len(points),), -1)
    point2voxel[inside] = rows
    return coords, point2voxel


def _pairs(outputs, inputs):
    """Rows of outputs and inputs that are the same voxel."""
    ordered, rows = keys_of(inputs).sort()
    wanted = keys_of(outputs)
    place = torch.searchsorted(ordered, wanted).clamp(max=len(rows) - 1)
    found = (ordered[place] == wanted).nonzero().squeeze(1)
    return found, rows[place[found]]


def _moved(coords, offset):
    return torch.cat([coords[:, :1], coords[:, 1:] + offset], 1)


def convolve(feats, coords, kernel, k, stride, factor):
    """Output coordinates and values of ``out[c] = sum W_o in[c + o stride]``."""
    step = stride * factor
    out_coords = coords
    if factor > 1:
        floored = coords.clone()
        floored[:, 1:] = coords[:, 1:].div(step, rounding_mode="floor") * step
        out_coords = torch.unique(floored, dim=0)
    out = feats.new_zeros(len(out_coords), kernel.shape[-1])
    for offset, weight in zip(kernel_offsets(k), kernel.view(-1, *kernel.shape[-2:])):
        rows, read = _pairs(_moved(out_coords, offset * stride), coords)
        out = out.index_add(0, rows, feats[read] @ weight)
    return out_coords, out


def generate(feats, coords, kernel, k, stride, bounds):
    """Output coordinates inside the bounds and ``out[c + o] += W_o in[c]`` at half the stride."""
    fine = stride // 2
    reached = torch.cat([_moved(coords, offset * fine) for offset in kernel_offsets(k)])
    inside = ((reached[:, 1:] >= 0) & (reached[:, 1:] < torch.tensor(bounds))).all(1)
    out_coords = torch.unique(reached[inside], dim=0)
    out = feats.new_zeros(len(out_coords), kernel.shape[-1])
    for offset, weight in zip(kernel_offsets(k), kernel.view(-1, *kernel.shape[-2:])):
        read, rows = _pairs(_moved(coords, offset * fine), out_coords)
        out = out.index_add(0, rows, feats[read] @ weight)
    return out_coords, out


def add(a, a_coords, b, b_coords):
    """Sum on the union."""
    coords, rows = torch.unique(torch.cat([a_coords, b_coords]), dim=0, return_inverse=True)
    return coords, a.new_zeros(len(coords), a.shape[1]).index_add(0, rows, torch.cat([a, b]))
