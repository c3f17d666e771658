"""The training loop's own parts: the warm start, its log, checkpoints, and resuming."""

from minkocc.engine.calibrate import CalibrateHook
from minkocc.engine.cpu_amp import CpuAmpOptimWrapper
from minkocc.engine.disjoint_splits import DisjointSplitsHook
from minkocc.engine.finite_steps import FiniteStepHook
from minkocc.engine.phase_log import PhaseLogProcessor
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.engine.train_loop import ResumableTrainLoop
from minkocc.engine.validation_figures import ValidationFiguresHook
from minkocc.engine.vis_backend import WholeConfigVisBackend
from minkocc.engine.warm_start import WarmStartHook
from minkocc.engine.warm_start_sampler import WarmStartSampler

__all__ = [
    "CalibrateHook",
    "CpuAmpOptimWrapper",
    "DisjointSplitsHook",
    "FiniteStepHook",
    "PhaseLogProcessor",
    "ResumableTrainLoop",
    "SafeCheckpointHook",
    "ValidationFiguresHook",
    "WarmStartHook",
    "WarmStartSampler",
    "WholeConfigVisBackend",
]
