"""Training a recipe: from the start, from weights, or on from where a run stopped."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from minkocc.config import ConfigError
from minkocc.datasets.label_audit import watch_truth
from minkocc.engine.checkpoint_fit import check_overlap, check_state, check_weights
from minkocc.engine.run_settings import check_resumed
from minkocc.engine.runner import build_runner, join_processes, unwrapped
from minkocc.engine.warm_start_sampler import WarmStartSampler
from minkocc.engine.work_dir import RECIPE, claimed, last_checkpoint, remove_results
from minkocc.files.checkpoints import read_checkpoint
from minkocc.files.writing import write_text
from minkocc.registry import LOOPS
from minkocc.structures.errors import UserError


def train(cfg: Config, recipe: Config, overwrite: bool = False, start_anew: bool = False) -> None:
    """Train a recipe, from the start or from a checkpoint.

    The work dir keeps the resolved config (mmengine's) and ``recipe.py``, the recipe with its
    references, from which a later run can be derived by one knob.

    Args:
        cfg: the resolved recipe with ``work_dir``; ``resume`` and ``load_from`` say whence.
        recipe: what ``recipe_of`` gave.
        overwrite: a run that is in the work dir goes for this one.
        start_anew: where there is no checkpoint to resume, begin from the start.

    Raises:
        UserError: another run is in the work dir; the checkpoint is missing, cannot be read safely,
            or, on resume, is of another model or another label budget, or says too little.
    """
    _settle_loop(cfg)
    join_processes(cfg)
    text = recipe.pretty_text
    named = cfg.load_from
    with claimed(cfg.work_dir, text, named, bool(cfg.resume), overwrite):
        if cfg.resume and named is None:
            cfg.load_from = _to_resume(cfg.work_dir, start_anew)
            cfg.resume = cfg.load_from is not None
        runner = _runner_with_checkpoint(cfg) if cfg.load_from else build_runner(cfg)
        if is_main_process():
            if overwrite and (named or not cfg.resume):
                remove_results(cfg.work_dir)
            write_text(Path(cfg.work_dir) / RECIPE, text)
        try:
            runner.train()
        finally:
            watch_truth(None)  # a run that failed closes no label to what comes after it


def _settle_loop(cfg: Config) -> None:
    """Train with the loop that is exact on resume where the recipe leaves it open.

    Raises:
        ConfigError: a loop of iterations, as mmengine has it, begins the sampler anew at every
            pass over the frames.
    """
    loop, sampler = cfg.get("train_cfg") or {}, cfg.get("train_dataloader", {}).get("sampler", {})
    if sampler.get("type") not in ("WarmStartSampler", WarmStartSampler):
        return
    by_epoch = loop.pop("by_epoch", True)
    kind = loop.setdefault("type", "ResumableTrainLoop" if by_epoch else "IterBasedTrainLoop")
    found = LOOPS.get(kind) if isinstance(kind, str) else kind
    if found is EpochBasedTrainLoop:
        loop["type"] = "ResumableTrainLoop"
    if isinstance(found, type) and issubclass(found, IterBasedTrainLoop):
        raise ConfigError(
            f"train_cfg: {found.__name__} begins WarmStartSampler, and with it the warm start, "
            "anew at every pass over the frames: use dict(type='ResumableTrainLoop', max_epochs=N)"
        )


def _to_resume(work_dir: str, start_anew: bool) -> str | None:
    """The work dir's last checkpoint.

    Raises:
        UserError: there is none, and it was not said that the run may begin anew.
    """
    path = last_checkpoint(work_dir)
    if path is None and not start_anew:
        raise UserError(
            f"--resume: {work_dir} has no checkpoint to go on from: leave --resume out to begin "
            "from the start, or say --resume auto to do so wherever there is none"
        )
    return path


def _runner_with_checkpoint(cfg: Config) -> Runner:
    """A runner that its checkpoint fits; what was read for that is not kept while it trains."""
    # Before anything is built: a wrong file should not cost the start of the workers.
    content = read_checkpoint(cfg.load_from)
    if cfg.resume:
        check_state(cfg, content, cfg.load_from)
    runner = build_runner(cfg)
    model = unwrapped(runner.model)
    if cfg.resume:
        check_weights(model, content, cfg.load_from)
        check_resumed(cfg, content, cfg.load_from)
    else:
        check_overlap(model, content, cfg.load_from)
    return runner
