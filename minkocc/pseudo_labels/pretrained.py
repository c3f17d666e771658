"""Models of ``transformers``, from folders or the hub; code of their own is never run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minkocc.structures.errors import UserError

_HASHED = (".bin", ".json", ".model", ".safetensors", ".txt")
_PAGE = "docs/pseudo_labels.md"


class ModelError(UserError, ValueError):
    """A model that cannot be used; the text names the option and the remedy."""


def library(option: str) -> Any:
    """``transformers``, silent.

    Raises:
        ModelError: it is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or it warns of every fork
    try:
        import transformers
        from huggingface_hub.utils import logging as hub_logging
    except ImportError as error:
        raise ModelError(
            f"{option} needs transformers, which is not installed ({error}): "
            "pip install -r requirements-pseudo-labels.txt"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    return transformers


@dataclass(frozen=True)
class Pretrained:
    """A model that is known by its configuration, and not yet loaded.

    Args:
        option: of the command line that names it.
        name: a folder or a name on the hub.
        config: its configuration.
        commit: of the hub; None for a folder.
    """

    option: str
    name: str
    config: Any
    commit: str | None

    @property
    def kind(self) -> str:
        """Its ``model_type``."""
        return str(self.config.model_type)

    def describe(self) -> dict[str, Any]:
        """What ``meta.json`` says of it; a folder is known by its content, wherever it lies."""
        folder = Path(self.name)
        local = folder.is_dir()
        return {
            "role": self.option.lstrip("-"),
            "name": folder.resolve().name if local else self.name,
            "type": self.kind,
            "revision": fingerprint(folder) if local else self.commit,
        }

    def load(self, class_name: str, device: torch.device) -> Any:
        """The model with its weights, in float32, ready to infer.

        Args:
            class_name: of ``transformers``.
            device: where to.

        Raises:
            ModelError: the weights cannot be read, or are not all there.
        """
        model, report = self._read(class_name, dtype=torch.float32, output_loading_info=True)
        missing = sorted(set(report["missing_keys"]) & dict(model.named_parameters()).keys())
        if missing:
            raise ModelError(
                f"{self.option} {self.name} lacks {len(missing)} of its weights ({missing[0]}, "
                f"...): they would be random; fetch it again, see {_PAGE}"
            )
        return model.to(device).eval()

    def image_processor(self, class_name: str = "AutoImageProcessor", **changes: Any) -> Any:
        """What makes its input of images, with Pillow: the same with and without torchvision.

        Args:
            class_name: of ``transformers``.
            changes: to its configuration.

        Raises:
            ModelError: its configuration cannot be read.
        """
        if class_name.startswith("Auto"):
            changes["backend"] = "pil"
        return self._read(class_name, **changes)

    def tokenizer(self) -> Any:
        """What makes its input of text.

        Raises:
            ModelError: its vocabulary cannot be read.
        """
        return self._read("AutoTokenizer")

    def _read(self, class_name: str, **options: Any) -> Any:
        part = getattr(library(self.option), class_name)
        if class_name.startswith("Auto"):
            options["trust_remote_code"] = False
        if self.commit is not None:
            options["revision"] = self.commit
        try:
            return part.from_pretrained(self.name, **options)
        except Exception as error:  # damaged files fail in many ways
            raise ModelError(
                f"{self.option} {self.name}: its {_what(class_name)} cannot be read "
                f"({_reason(error)}): fetch the model again, see {_PAGE}"
            ) from error


def find(option: str, name: str, kinds: Collection[str], wanted: str) -> Pretrained:
    """Look a model up.

    Args:
        option: of the command line that names it.
        name: a folder or a name on the hub.
        kinds: the ``model_type`` values that will do.
        wanted: what they are, in words.

    Raises:
        ModelError: there is no such model, it cannot be fetched, or it is of another kind.
    """
    transformers = library(option)
    try:
        commit = _commit(transformers, name)
        config = transformers.AutoConfig.from_pretrained(
            name, revision=commit, trust_remote_code=False
        )
    except Exception as error:  # no folder, no network, no such name, a damaged file, ...
        what = "this folder holds no model" if Path(name).is_dir() else "no such folder or hub name"
        raise ModelError(
            f"{option} {name}: {what} that can be read ({_reason(error)}): name a model on the hub "
            f"or a folder that `hf download` filled, see {_PAGE}"
        ) from error
    if config.model_type not in kinds:
        raise ModelError(
            f"{option} {name} is a model of type {config.model_type!r}, expected {wanted} "
            f"({', '.join(sorted(kinds))})"
        )
    return Pretrained(option, name, config, commit)


def fingerprint(folder: Path) -> str:
    """``sha256:`` and the digest of the names and contents of a model's own files."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _HASHED)
    if any(path.suffix == ".safetensors" for path in files):
        files = [path for path in files if path.suffix != ".bin"]  # the same weights once more
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def versions() -> dict[str, str]:
    """Of the library, for ``meta.json``."""
    return {"transformers": str(library("--detector or --semantic").__version__)}


def precision(device: torch.device) -> str:
    """What ``inference`` computes in on a device, where that is safe."""
    return "float16" if device.type == "cuda" else "float32"


def finite(values: torch.Tensor, option: str) -> torch.Tensor:
    """The values, which would otherwise become labels of nothing without a word.

    Raises:
        ModelError: one is not finite.
    """
    if not bool(values.isfinite().all()):
        raise ModelError(
            f"{option} gave values that are not finite, in {precision(values.device)}: its weights "
            f"are damaged, or it needs more range than float16 has (then use --device cpu), see "
            f"{_PAGE}"
        )
    return values


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """No gradients; float16 on CUDA where it is safe, float32 elsewhere."""
    half = precision(device) == "float16"
    with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=half):
        yield


def _commit(transformers: Any, name: str) -> str | None:
    """The commit that the hub has now: all parts of a model are taken from it."""
    if Path(name).is_dir():
        return None
    # The cache keeps every commit in a folder of its name.
    path = Path(transformers.utils.cached_file(name, "config.json"))
    return path.parent.name if path.parent.parent.name == "snapshots" else None


def _what(class_name: str) -> str:
    if "Tokenizer" in class_name:
        return "tokenizer"
    return "image processor" if "Processor" in class_name else "weights"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
