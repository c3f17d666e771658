"""What tools/view.py does: opens what is named, then serves the page or writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from minkocc.apis.inference import prediction_data
from minkocc.apis.view.choice import NOTHING, Offered
from minkocc.apis.view.frames import ViewedFrames
from minkocc.apis.view.page import Page
from minkocc.apis.view.predictions import NetworkPredictor, Predictor, SavedPredictor
from minkocc.apis.view.session import Session, export_page
from minkocc.files.occupancy import PredictionError
from minkocc.structures.errors import UserError

_MOST = 2  # predictions that are compared
_EXPORT_RATE = 2.0  # frames a second: nuScenes' keyframes as they were


@dataclass(frozen=True)
class ViewOptions:
    """What is viewed."""

    checkpoint: str | None = None
    infos: Path | None = None
    """None: the info file of the recipe's test set."""
    preds: Sequence[Path] = field(default_factory=tuple)
    logs: Sequence[Path] = ()
    """Manifests whose boxes are drawn."""
    frame: int = 0
    layer: str | None = None
    """Shown first; None: the prediction, or what there is."""
    beside: str = NOTHING
    points: bool = False
    """Whether the LiDAR is shown first."""
    boxes: bool = False


def serve(cfg: Config, options: ViewOptions, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
        cfg: a resolved recipe.
        options: what is viewed.
        host: address to listen on.
        port: to listen on.

    Raises:
        UserError: nothing can listen there, or what is named cannot be used.
    """
    frames = open_frames(cfg, options)
    page = Page(_offered(frames, options), host, port)
    try:
        print(
            f"http://{host}:{port}  {len(frames)} frames, Ctrl-C ends; from another machine: "
            f"ssh -L {port}:localhost:{port} THIS_MACHINE, then http://localhost:{port} there",
            flush=True,
        )
        Session(frames, page).run()
    finally:
        page.close()


def export(cfg: Config, options: ViewOptions, out: Path, count: int) -> int:
    """Write a self-contained page.

    Args:
        cfg: a resolved recipe.
        options: what is viewed.
        out: the HTML file.
        count: frames in it at most.

    Returns:
        How many frames are in it.

    Raises:
        UserError: what is named cannot be used.
    """
    frames = open_frames(cfg, options)
    offered = _offered(frames, options)
    page = Page(offered, port=0)
    try:
        return export_page(Session(frames, page), offered.start, count, _EXPORT_RATE, out)
    finally:
        page.close()


def open_frames(cfg: Config, options: ViewOptions) -> ViewedFrames:
    """The frames that options name, with what predicts them.

    Args:
        cfg: a resolved recipe.
        options: what is viewed.

    Raises:
        UserError: a file or folder cannot be used, more than two predict, or the frame is none.
    """
    data = prediction_data(cfg)
    infos = options.infos or Path(data.data_root) / data.ann_file
    if len(options.preds) + bool(options.checkpoint) > _MOST:
        raise UserError(
            f"{len(options.preds)} --pred{' and a checkpoint' if options.checkpoint else ''}: at "
            f"most {_MOST} predictions are compared, leave some out"
        )
    saved = [SavedPredictor(folder) for folder in options.preds]
    # A mistake in the infos is told before a network is built.
    frames = ViewedFrames(cfg, infos, logs=options.logs)
    _check_some(saved, frames, infos)
    if options.frame >= len(frames):
        raise UserError(
            f"--frame {options.frame}: {infos} has {len(frames)} frames, expected 0 to "
            f"{len(frames) - 1}"
        )
    predictors: list[Predictor] = [*saved]
    if options.checkpoint:
        predictors.insert(0, NetworkPredictor(cfg, options.checkpoint, infos.parent))
    frames.predict_by(predictors)
    return frames


def _check_some(saved: Sequence[SavedPredictor], frames: ViewedFrames, infos: Path) -> None:
    tokens = {frame["token"] for frame in frames.frames}
    for predictor in saved:
        if not predictor.tokens & tokens:
            raise PredictionError(
                f"--pred {predictor.folder}: none of its {len(predictor.tokens)} predictions is of "
                f"a frame of {infos}: name the info file that was predicted with --infos"
            )


def _offered(frames: ViewedFrames, options: ViewOptions) -> Offered:
    names = [Path(options.checkpoint).stem] if options.checkpoint else []
    names += [folder.resolve().name for folder in options.preds]
    title = " | ".join(["minkocc", *names])
    return Offered.of(
        frames,
        title,
        options.frame,
        options.layer,
        options.beside,
        options.points,
        options.boxes,
    )
