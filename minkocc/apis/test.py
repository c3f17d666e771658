"""Predict the test set, measure it under the recipe's protocols, and write the figures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from minkocc.datasets.transforms.pseudo_labels import PSEUDO_LABELS
from minkocc.engine.checkpoint_fit import load_weights
from minkocc.engine.disjoint_splits import count_trained
from minkocc.engine.run_settings import differences, reported_settings
from minkocc.engine.runner import build_runner, unwrapped
from minkocc.evaluation.metrics import (
    DumpPredictions,
    FrameMetric,
    FramesWithoutPoints,
    PruningMetric,
    RenderedIoUMetric,
    summaries_of,
)
from minkocc.evaluation.report import write_report
from minkocc.files.checkpoints import read_checkpoint
from minkocc.models.group_index import classes_of
from minkocc.runtime.provenance import provenance
from minkocc.structures.errors import UserError

_REPORTED = (
    "seed", "alpha", "voxel_size", "train_mask", "outside", "unknown", "unknown_weight",
    "image_pretrained",
)  # fmt: skip
"""Of the settings a checkpoint was trained under, what stands beside its figures."""


def measure_checkpoint(
    cfg: Config,
    checkpoint: str | None,
    out: Path,
    dump: Path | None = None,
    render: bool = False,
    sweep: bool = False,
) -> list[dict[str, Any]]:
    """Predict the test set, measure it, and write JSON, Markdown and pictures.

    Args:
        cfg: a resolved recipe with ``work_dir``.
        checkpoint: weights; None measures the untrained network of the recipe's seed.
        out: JSON file; the others stand beside it.
        dump: folder for one ``<token>.npz`` a frame; frames without a label are then allowed.
        render: measure the rendered 2D semantics against the pseudo-labels too.
        sweep: add figures of each decoder level by threshold; no threshold is changed.

    Returns:
        The summary of every protocol.

    Raises:
        UserError: the checkpoint is of another model, voxel grid or classes; no frame has a label
            to be measured against, or with ``render`` no pseudo-label; with ``sweep`` the model
            records no decoder levels.
    """
    content = read_checkpoint(checkpoint) if checkpoint else None
    cfg.load_from, cfg.resume = None, False  # the checkpoint that was named, and no other
    if render:
        folder = cfg.get("pseudo_labels", PSEUDO_LABELS)
        read_pseudo_labels(cfg.test_dataloader.dataset, cfg.model, folder)
    runner = build_runner(cfg, keep_config=False)
    model = unwrapped(runner.model)
    model.render_predictions = render
    if content is not None:
        load_weights(model, content, str(checkpoint))
    else:
        runner.logger.log(logging.WARNING, "no checkpoint: measuring the untrained network")
        model.init_weights()
    groups = classes_of(model)
    rendered = RenderedIoUMetric(groups)
    without_points = FramesWithoutPoints()
    added: list[FrameMetric] = [without_points, *([rendered] if render else [])]
    added += record_pruning(model, sweep)
    if dump is not None:
        added.append(DumpPredictions(dump, groups))
    settings = reported_settings(cfg, content, str(checkpoint))
    tell_training(runner.test_evaluator.metrics, settings)
    trained = _warn_of_training_frames(cfg, runner)
    summaries = _test(runner, added)
    if render and not rendered.summaries:
        raise UserError(
            "--render: no frame of the test set has a pseudo-label to be measured against: create "
            "them with tools/generate_pseudo_labels.py (a synthetic root has them from the start)"
        )
    if (dump is None or sweep) and not summaries:
        raise UserError(
            "no frame of the test set has a dense label to be measured against: put Occ3D's gts/ "
            "into the data root and create the infos again, or predict with --dump DIR alone"
        )
    if is_main_process():
        context = {
            "config": cfg.filename,
            "checkpoint": checkpoint,
            **{name: settings[name] for name in _REPORTED},
            "recipe_differs": differences(cfg, content) if content is not None else {},
            "frames_without_points": without_points.tokens,
            "frames_in_scenes_of_the_training_infos": trained,
            **provenance(),
        }
        write_report(out, summaries, context)
    return summaries


def tell_training(metrics: Iterable[Any], settings: Mapping[str, Any]) -> None:
    """What metrics print of training with every figure is what the weights were trained under."""
    for metric in metrics:
        told = getattr(metric, "training", None)
        if isinstance(told, dict):
            told.update({name: settings[name] for name in told if name in settings})


def _warn_of_training_frames(cfg: Config, runner: Runner) -> int | None:
    """How many tested frames are in scenes that were trained on; the log says so too."""
    scenes = getattr(runner.test_dataloader.dataset, "scene_names", [])
    trained = count_trained(cfg, scenes)
    if trained:
        runner.logger.log(
            logging.WARNING,
            f"{trained} of {len(scenes)} tested frames are in scenes of the training infos: these "
            "are no figures of unseen frames",
        )
    return trained


def record_pruning(model: Any, sweep: bool = False) -> list[FrameMetric]:
    """Let a model record its decoder's levels, and what measures them; nothing if it cannot.

    Args:
        model: records them if it has an attribute ``record_levels``, and has a ``grid`` then.
        sweep: figures by threshold too.

    Raises:
        UserError: ``sweep`` is asked of a model that cannot.
    """
    if hasattr(model, "record_levels"):
        model.record_levels = True
        return [PruningMetric(model.grid, sweep)]
    if sweep:
        raise UserError(
            f"--sweep-threshold: {type(model).__name__} has no record_levels, so what its decoder "
            "keeps cannot be recorded: leave the option out, or measure a MinkOcc"
        )
    return []


def read_pseudo_labels(dataset: Config, model: Config, folder: str = PSEUDO_LABELS) -> None:
    """Let the pipeline of a test set read the pseudo-labels, where there are any.

    Args:
        dataset: its settings.
        model: settings of the model that renders.
        folder: of the pseudo-labels, relative to the data root, or absolute.

    Raises:
        UserError: it reads no images, whose pseudo-labels these are, or the model renders nothing.
    """
    steps = [step.type for step in dataset.get("pipeline", [])]
    if "LoadImages" not in steps:
        raise UserError(
            "rendered semantics are compared to the images' pseudo-labels: the test pipeline needs "
            "LoadImages"
        )
    if model.get("pulsar_head", {}) is None:
        raise UserError("--render: the recipe has no render head (model.pulsar_head is None)")
    stride = model.get("pulsar_head", {}).get("render_stride", 8)
    wanted = {"LoadPseudoLabels": {"folder": folder}, "SampleLattice": {"render_stride": stride}}
    place = steps.index("LoadImages")
    for name, settings in wanted.items():
        if name in steps:
            place = steps.index(name)
        else:
            place += 1
            dataset.pipeline.insert(place, ConfigDict(type=name, **settings))
            steps.insert(place, name)


def _test(runner: Runner, added: list[FrameMetric]) -> list[dict[str, Any]]:
    """Run the test loop with more metrics; the summaries of all that keep some."""
    metrics = runner.test_evaluator.metrics
    for metric in added:
        metric.dataset_meta = runner.test_dataloader.dataset.metainfo
        metrics.append(metric)
    runner.test()
    return summaries_of(metrics)
