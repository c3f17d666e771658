"""The training loop's own parts: the warm start and its log."""

from minkocc.engine.phase_log import PhaseLogProcessor
from minkocc.engine.safe_checkpoint import SafeCheckpointHook
from minkocc.engine.warm_start import WarmStartHook
from minkocc.engine.warm_start_sampler import WarmStartSampler

__all__ = ["PhaseLogProcessor", "SafeCheckpointHook", "WarmStartHook", "WarmStartSampler"]
