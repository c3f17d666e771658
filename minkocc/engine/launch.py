"""From a resolved recipe to a running mmengine ``Runner``."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.utils.dl_utils import set_multi_processing

from minkocc.config import ConfigError
from minkocc.datasets.label_audit import watch_truth
from minkocc.engine.run_settings import check_grid, check_resumed
from minkocc.engine.warm_start_sampler import WarmStartSampler
from minkocc.engine.work_dir import RECIPE, claimed, last_checkpoint, remove_results
from minkocc.files.checkpoints import read_checkpoint
from minkocc.files.whole_files import write_text
from minkocc.registry import LOOPS
from minkocc.structures.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@contextmanager
def _building() -> Iterator[None]:
    """What a component refuses is a mistake in the recipe.

    Raises:
        ConfigError: in the component's words.
    """
    try:
        yield
    except (ValueError, KeyError, AssertionError) as error:  # mmengine checks values by assert
        if isinstance(error, UserError):
            raise
        raise ConfigError(f"the recipe cannot be built: {error}") from error


class _Runner(Runner):
    """Says in one line what a recipe's parts refuse that are built when training begins.

    The processes that load its data end with what they were loaded for.
    """

    def train(self) -> torch.nn.Module:
        try:
            return super().train()
        finally:
            self._end_data_workers()

    def test(self) -> dict[str, float]:
        try:
            return super().test()
        finally:
            self._end_data_workers()

    def _end_data_workers(self) -> None:
        """Tell the processes that load data to end, which they do at once.

        torch tells them when their loader goes, and a runner, in circles with its hooks, keeps it.
        At Python's end it then waits, untold, 5 s for each of those whose batches were pinned for a
        GPU.
        """
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            loader = getattr(loop, "dataloader", None)  # a loop that never ran is a dict still
            if loader is not None and loader._iterator is not None:
                loader._iterator._shutdown_workers()
                loader._iterator = None

    def build_train_loop(self, loop: Any) -> Any:
        with _building():
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        with _building():
            return super().build_val_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        with _building():
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with _building():
            return super().build_param_scheduler(scheduler)

    def resume(self, filename: str, *arguments: Any, **keywords: Any) -> None:
        try:
            super().resume(filename, *arguments, **keywords)
        except (KeyError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"--resume: the optimiser's or the schedule's state in {filename} does not fit the "
                f"recipe ({error}): resume with the recipe of before, or begin a new run from "
                "these weights with --cfg-options load_from=PATH"
            ) from error

    def dump_config(self) -> None:
        # mmengine opens the file and then takes its time to fill it.
        name = Path(self.cfg.filename or f"{self.timestamp}.py").name
        write_text(Path(self.work_dir) / name, self.cfg.dump())


class _LeavesNoConfig(_Runner):
    """Writes no config into the work dir, where that of the training run is kept."""

    def dump_config(self) -> None:
        pass


def build_runner(cfg: Config, keep_config: bool = True) -> Runner:
    """A runner for CPU or CUDA, whatever the machine has.

    Args:
        cfg: a resolved recipe with ``work_dir``.
        keep_config: write the resolved config into the work dir.

    Raises:
        ConfigError: a component refuses a value of the recipe.
    """
    warnings.filterwarnings("ignore", message=".*pkg_resources.*")
    _join_processes(cfg)
    if cfg.get("val_cfg") is None:  # no validation: mmengine wants all three to say so
        cfg.val_dataloader = cfg.val_evaluator = None
    for loader in _dataloaders(cfg):
        loader.persistent_workers = loader.num_workers > 0  # torch refuses it without
    if torch.cuda.is_available():
        _fit_to_cuda(cfg)
    else:
        _fit_to_cpu(cfg)
    with _building():
        return (_Runner if keep_config else _LeavesNoConfig).from_cfg(cfg)


# What each launcher's processes find in their environment.
_LAUNCHED = {
    "pytorch": ("RANK", "tools/dist_train.sh CONFIG GPUS"),
    "slurm": ("SLURM_PROCID", "srun"),
    "mpi": ("OMPI_COMM_WORLD_LOCAL_RANK", "mpirun"),
}


def _join_processes(cfg: Config) -> None:
    """Make the group of the run's processes, before one of them writes anything.

    Raises:
        ConfigError: the launcher that was named did not start this process.
    """
    launcher = cfg.get("launcher", "none")
    if launcher == "none" or torch.distributed.is_initialized():
        return
    variable, starter = _LAUNCHED[launcher]
    if variable not in os.environ:
        raise ConfigError(
            f"--launcher {launcher}: {variable} is not set, so that no {launcher} launcher started "
            f"this process: start it with {starter}, or leave --launcher out"
        )
    if torch.cuda.is_available():
        set_multi_processing(**cfg.env_cfg.get("mp_cfg", {}), distributed=True)
        init_dist(launcher, **cfg.env_cfg.get("dist_cfg", {}))
    elif launcher == "pytorch":
        torch.distributed.init_process_group("gloo")  # mmengine's own start sets a CUDA device


def _dataloaders(cfg: Config) -> list[Any]:
    """Those that the recipe has: it may train without validation."""
    names = ("train_dataloader", "val_dataloader", "test_dataloader")
    return [cfg[name] for name in names if cfg.get(name)]


def _fit_to_cuda(cfg: Config) -> None:
    """What is fast on a card, where the recipe does not say otherwise.

    Matrix products in TF32, batches copied from pinned memory, and bfloat16 as the type of mixed
    precision where the card computes in it: it has float32's range.
    """
    torch.set_float32_matmul_precision("high")
    for loader in _dataloaders(cfg):
        loader.setdefault("pin_memory", True)
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if cfg.optim_wrapper.get("type") == "AmpOptimWrapper" and has_bfloat16:
        cfg.optim_wrapper.setdefault("dtype", "bfloat16")


def _fit_to_cpu(cfg: Config) -> None:
    """What mmengine takes for granted that every machine has, put right."""
    _keep_freed_memory()
    if cfg.optim_wrapper.get("type") == "AmpOptimWrapper":
        cfg.optim_wrapper.type = "CpuAmpOptimWrapper"
        for option in ("loss_scale", "dtype"):  # of float16, which this one does not use
            cfg.optim_wrapper.pop(option, None)
    cfg.env_cfg.dist_cfg.backend = "gloo"
    cfg.model_wrapper_cfg.device_ids = None  # mmengine names a CUDA device by default


def _keep_freed_memory() -> None:
    """Let glibc keep what tensors free for those of the next iteration, the same in size.

    Else the kernel clears some 200 MB an iteration anew. The largest blocks, those of finer voxels,
    are given back all the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


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
    _join_processes(cfg)
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
        _check_state(cfg, content, cfg.load_from)
    runner = build_runner(cfg)
    model = unwrapped(runner.model)
    if cfg.resume:
        check_weights(model, content, cfg.load_from)
        check_resumed(cfg, content, cfg.load_from)
    else:
        _check_overlap(model, content, cfg.load_from)
    return runner


def _check_state(cfg: Config, checkpoint: dict[str, Any], name: str) -> None:
    """Refuse to resume from what says too little of the run, which would begin half of it anew."""
    meta = _dict(checkpoint.get("meta"))
    places = [meta.get(key) for key in ("iter", "epoch")]
    lacks = [
        what
        for what, there in (
            ("the iteration it is of", all(isinstance(place, int) for place in places)),
            ("the log", "message_hub" in checkpoint),
            ("the optimiser's state", "param_groups" in _dict(checkpoint.get("optimizer"))),
            ("the schedule's", not cfg.get("param_scheduler") or "param_schedulers" in checkpoint),
        )
        if not there
    ]
    if lacks:
        raise UserError(
            f"--resume: checkpoint {name} lacks {', '.join(lacks)}, so that no run can go on from "
            "it: resume from another one, or begin a new run from its weights with --cfg-options "
            "load_from=PATH"
        )


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _check_overlap(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Weights to begin a new run from may be a part of the model's, or more, but not none."""
    state, wanted = checkpoint.get("state_dict", checkpoint), model.state_dict()
    taken = [key for key in wanted if key in state and _fits(state[key], wanted[key])]
    if not taken:
        raise UserError(
            f"load_from {name} holds none of this model's {len(wanted)} tensors (it has "
            f"{', '.join(map(str, list(state)[:2]))}, ...): use it with the config it was trained "
            "with"
        )
    if len(taken) < len(wanted):
        print_log(
            f"load_from {name} fills {len(taken)} of the model's {len(wanted)} tensors; the others "
            "start anew",
            logger="current",
            level=logging.WARNING,
        )


def unwrapped(model: torch.nn.Module) -> Any:
    """The model itself, out of its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def check_weights(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Refuse a checkpoint whose weights are not exactly this model's.

    Args:
        model: what they are for.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: the checkpoint is of another model, of another voxel grid, or of weights that
            are whole numbers.
    """
    check_grid(model, checkpoint, name)
    state = checkpoint.get("state_dict", checkpoint)
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    unknown = sorted(state.keys() - wanted.keys(), key=str)
    reshaped = sorted(
        key for key in wanted.keys() & state.keys() if not _fits(state[key], wanted[key])
    )
    for what, keys in (("lacks", missing), ("has unknown", unknown), ("differs in", reshaped)):
        if keys:
            raise UserError(
                f"checkpoint {name} is of another model: it {what} {len(keys)} tensors "
                f"({keys[0]}, ...); use it with the config it was trained with"
            )


def _fits(value: Any, weight: torch.Tensor) -> bool:
    """Whether a weight becomes what is meant: of another kind of number, torch makes it rounded."""
    if not isinstance(value, torch.Tensor) or value.shape != weight.shape:
        return False
    first, second = (
        (tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool)
        for tensor in (value, weight)
    )
    return first == second


def load_weights(model: torch.nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Load a checkpoint's weights into the model, all of them or none.

    Args:
        model: what to fill.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for the message.

    Raises:
        UserError: the checkpoint is of another model.
    """
    check_weights(model, checkpoint, name)
    model.load_state_dict(checkpoint.get("state_dict", checkpoint))
