"""Prediction from Python, a frame at a time: for notebooks and for programs of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from minkocc.config import load_config
from minkocc.datasets.nuscenes_occ import located
from minkocc.datasets.transforms.augment import plain_steps
from minkocc.engine.checkpoint_fit import load_weights
from minkocc.engine.runner import building
from minkocc.files.checkpoints import read_checkpoint
from minkocc.models.minkocc import MinkOcc
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError
from minkocc.structures.occ_data_sample import OccDataSample


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    render: bool = False,
) -> MinkOcc:
    """A network that is ready to predict.

    Args:
        config: a recipe's path, or a resolved recipe.
        checkpoint: its weights; None leaves them as they are initialised.
        device: where it works; None takes the first GPU, or the CPU where there is none.
        render: add the rendered 2D semantics to every prediction.

    Returns:
        The model in evaluation mode; ``model.cfg`` is the resolved recipe.

    Raises:
        ConfigError: the recipe cannot be used.
        UserError: the checkpoint is missing, unsafe, damaged, or of another model.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    init_default_scope("minkocc")
    content = None if checkpoint is None else read_checkpoint(checkpoint)
    with building():
        model: MinkOcc = MODELS.build({**cfg.model, "render_predictions": render})
    if content is not None:
        load_weights(model, content, str(checkpoint))
    model.cfg = cfg
    default = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device or default).eval()


def predict(model: MinkOcc, frame: Mapping[str, Any], data_root: str | Path) -> OccDataSample:
    """Predict one frame of an info file; no ground truth is read.

    Args:
        model: what ``init_model`` gave.
        frame: an entry of ``read_infos(...)["data_list"]``.
        data_root: the folder that the frame's paths are relative to.

    Returns:
        The frame's data sample with ``pred_semantics``, uint8 ``(200, 200, 16)`` of Occ3D ids,
        17 = free, in the ego frame; with ``render`` also ``rendered_tied`` and
        ``rendered_shader``, uint8 ``(N, h, w)`` of 2D ids.

    Raises:
        UserError: a file of the frame is missing or damaged, or the recipe has no test set.
    """
    steps = Compose(prediction_data(model.cfg).pipeline).transforms
    begin = {
        **located(frame, data_root),
        "phase": None,
        "iteration": 0,
        "rng": np.random.default_rng(0),
    }
    item = Compose(list(plain_steps(steps, targets=False)))(begin)
    (sample,) = model(**model.data_preprocessor(pseudo_collate([item])), mode="predict")
    return sample


def prediction_data(cfg: Config) -> ConfigDict:
    """The settings of a recipe's test set, whose pipeline is that of prediction.

    Args:
        cfg: a resolved recipe.

    Raises:
        UserError: it has none.
    """
    if not cfg.get("test_dataloader"):
        raise UserError(
            f"{cfg.filename or 'the recipe'} has no test_dataloader, whose pipeline reads the "
            "frames that are predicted: take one that has, as those in configs/"
        )
    return cfg.test_dataloader.dataset
