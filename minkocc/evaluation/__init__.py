"""Metrics: pure functions on arrays, named protocols, thin mmengine wrappers."""

from minkocc.evaluation.metrics import VoxelIoUMetric

__all__ = ["VoxelIoUMetric"]
