"""mmengine's ``Runner`` as this project needs it: on any machine, with errors in one line."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from minkocc.config import ConfigError
from minkocc.files.checkpoints import load_safely
from minkocc.files.writing import write_text
from minkocc.structures.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@contextmanager
def building() -> Iterator[None]:
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
        with building():
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        with building():
            return super().build_val_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        with building():
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with building():
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
    load_safely()
    join_processes(cfg)
    if cfg.get("val_cfg") is None:  # no validation: mmengine wants all three to say so
        cfg.val_dataloader = cfg.val_evaluator = None
    for loader in _dataloaders(cfg):
        loader.persistent_workers = loader.num_workers > 0  # torch refuses it without
    if torch.cuda.is_available():
        _fit_to_cuda(cfg)
    else:
        _fit_to_cpu(cfg)
    with building():
        return (_Runner if keep_config else _LeavesNoConfig).from_cfg(cfg)


# What each launcher's processes find in their environment.
_LAUNCHED = {
    "pytorch": ("RANK", "tools/dist_train.sh CONFIG GPUS"),
    "slurm": ("SLURM_PROCID", "srun"),
    "mpi": ("OMPI_COMM_WORLD_LOCAL_RANK", "mpirun"),
}


def join_processes(cfg: Config) -> None:
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


def unwrapped(model: torch.nn.Module) -> Any:
    """The model itself, out of its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model
