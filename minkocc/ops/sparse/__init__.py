"""Sparse convolution on voxels, by MinkowskiEngine or by plain PyTorch.

Both backends share ``SparseConvolution``'s weight layout, so one checkpoint runs on either.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from minkocc.ops.sparse.interface import (
    SparseBackend,
    SparseConvolution,
    SparseTensor,
    kernel_offsets,
)
from minkocc.structures.errors import UserError

__all__ = [
    "BACKENDS",
    "BackendMissingError",
    "SparseBackend",
    "SparseConvolution",
    "SparseTensor",
    "get_backend",
    "kernel_offsets",
]


class BackendMissingError(UserError, ImportError):
    """The library of a sparse backend cannot be imported; the text names the remedy."""


BACKENDS = ("auto", "minkowski", "torch")
"""What ``get_backend`` accepts."""


def get_backend(name: str = "auto") -> SparseBackend:
    """The operations of a sparse backend.

    Args:
        name: ``"minkowski"``, ``"torch"``, or ``"auto"``: minkowski on a machine with CUDA for
            which it was built, else torch. (On two CPU cores an iteration of the strong mini took
            2.13 s with minkowski and 1.22 s with torch.)

    Raises:
        ValueError: the name is none of these.
        BackendMissingError: ``"minkowski"`` is asked for and MinkowskiEngine cannot be imported.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown sparse backend {name!r}: expected one of {', '.join(BACKENDS)}")
    if name == "auto":
        name = "minkowski" if _minkowski_serves_this_machine() else "torch"
    if name == "torch":
        from minkocc.ops.sparse import torch_backend

        return torch_backend.BACKEND
    try:
        from minkocc.ops.sparse import minkowski_backend
    except ImportError as error:
        raise BackendMissingError(
            "the minkowski backend needs MinkowskiEngine, which cannot be imported "
            f"({error}): run `make install`, or use the torch backend, "
            "--cfg-options model.genunet.backend=torch"
        ) from error
    return minkowski_backend.BACKEND


def _minkowski_serves_this_machine() -> bool:
    if not torch.cuda.is_available() or find_spec("MinkowskiEngine") is None:
        return False
    from minkocc.ops.sparse import minkowski_backend

    return minkowski_backend.has_cuda()
