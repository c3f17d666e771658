"""Checkpoint files: fetched where they are remote, and read without running anything in them."""

from __future__ import annotations

import hashlib
import pickle
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from mmengine.runner import CheckpointLoader

from minkocc.files.reading import UnsafeFileError
from minkocc.structures.errors import UserError

# mmengine resolves these names by importing torchvision, which nothing else here needs.
_TORCHVISION = {
    f"torchvision://{name}": f"https://download.pytorch.org/models/{name}-{digest}.pth"
    for name, digest in (
        ("resnet18", "f37072fd"),
        ("resnet34", "b627a593"),
        ("resnet50", "0676ba61"),
        ("resnet101", "63fe2227"),
    )
}
_ZIP = b"PK\x03\x04"
_PARTS = ("state_dict", "ema_state_dict", "meta", "message_hub")
"""What is a dict where a checkpoint has it."""


def local_checkpoint(name: str | Path) -> Path:
    """The file of a checkpoint's name; a remote one is downloaded into torch's cache first.

    Args:
        name: a path, ``http(s)://...``, or ``torchvision://resnet50`` and its sizes.

    Raises:
        UserError: it does not exist, is of another scheme, or cannot be downloaded.
    """
    if "://" not in str(name):
        if not Path(name).is_file():
            raise UserError(f"checkpoint {name} does not exist: check the path, or train first")
        return Path(name)
    url = _TORCHVISION.get(str(name), str(name))
    if not url.startswith(("http://", "https://")):
        raise UserError(
            f"checkpoint {name}: only http://, https:// and {', '.join(_TORCHVISION)} are fetched; "
            "download it and name the file"
        )
    base = Path(urlsplit(url).path).name
    if url == name:  # files of one name from two places are two files
        base = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{base}"
    path = Path(torch.hub.get_dir()) / "checkpoints" / base
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path))
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"checkpoint {name} cannot be downloaded ({error}): name a local file"
            ) from error
    return path


def read_checkpoint(name: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Args:
        name: what ``local_checkpoint`` takes.
        map_location: where its tensors go.

    Raises:
        UserError: it is missing, cannot be read, is no checkpoint, or holds weights that are not
            finite.
        UnsafeFileError: it holds more than tensors and plain values.
    """
    path = local_checkpoint(name)
    _check_sums(path)
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(_damaged(path, str(error))) from error
    except Exception as error:  # what is no pickle at all fails in every way
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise UnsafeFileError(
                f"checkpoint {path} holds more than tensors and plain values, which could run "
                "code: refused. Use a checkpoint of this project, or save the state dict alone"
            ) from error
        raise UserError(f"{path} is not a checkpoint: check the path") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a checkpoint's dict")
    _check_content(content, path)
    return content


def _check_content(content: Mapping[str, Any], path: Path) -> None:
    for part in _PARTS:
        if not isinstance(content.get(part, {}), dict):
            raise UserError(
                f"{path} is not a checkpoint: its {part} is a {type(content[part]).__name__}, "
                "expected a dict"
            )
    scalars = content.get("message_hub", {}).get("log_scalars", {})
    if not isinstance(scalars, dict) or not all(map(_is_history, scalars.values())):
        raise UserError(
            f"checkpoint {path}: its log is damaged (message_hub.log_scalars): take the one before "
            "it, or save the state dict alone"
        )
    for name, tensor in _tensors(content, ""):
        if tensor.layout != torch.strided:
            raise UserError(
                f"checkpoint {path}: {name} is sparse, expected plain tensors: save it with "
                ".to_dense()"
            )
    lost = not_finite(content)
    if lost:
        raise UserError(
            f"checkpoint {path}: {lost}, so that no run can go on from it and no figure be made: "
            "take the one before it"
        )


def _is_history(parts: Any) -> bool:
    """Logged values and how many of each, as two rows of one length."""
    return (
        isinstance(parts, (list, tuple))
        and len(parts) == 2
        and all(isinstance(part, torch.Tensor) and part.ndim == 1 for part in parts)
        and len(parts[0]) == len(parts[1])
    )


def _check_sums(path: Path) -> None:
    """Compare the checksums that every checkpoint carries, and that torch itself passes over.

    Raises:
        UserError: a part of the file is not what was written.
    """
    try:
        with open(path, "rb") as source:
            if source.read(len(_ZIP)) != _ZIP:  # by which torch tells them, too
                return  # of torch before 1.6, without checksums; or damaged, as torch will say
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # a damaged archive fails in many ways
        raise UserError(_damaged(path, str(error) or type(error).__name__)) from error
    if broken:
        raise UserError(_damaged(path, f"the checksum of {broken} is wrong"))


def _damaged(path: Path, reason: str) -> str:
    return (
        f"checkpoint {path} cannot be read ({textwrap.shorten(reason, 120)}): take the one before "
        "it, or copy it again"
    )


def not_finite(checkpoint: Mapping[str, Any]) -> str | None:
    """Which weight or state of an optimiser holds NaN or infinity, in words; None if none does.

    The log of training may: figures that are undefined, and losses of steps that were left out.
    """
    for name, tensor in _tensors(checkpoint, ""):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{name} is not finite ({int((~tensor.isfinite()).sum())} of {tensor.numel()})"
    return None


def _tensors(node: Any, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(node, torch.Tensor):
        yield place, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if place or key not in ("message_hub", "meta"):
                yield from _tensors(value, f"{place}.{key}" if place else str(key))


def load_safely() -> None:
    """Let mmengine read every checkpoint through ``read_checkpoint``.

    Its own loaders of remote files execute what is in them; ``load_from``, ``init_cfg`` and
    ``--resume`` all come through here from then on. Whatever builds a runner, or a part with
    pretrained weights, calls it first.
    """
    CheckpointLoader.register_scheme(list(CheckpointLoader._schemes), _load, force=True)


def _load(filename: str, map_location: Any = None, **_: Any) -> dict[str, Any]:
    return read_checkpoint(filename, map_location)
