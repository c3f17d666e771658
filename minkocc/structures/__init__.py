"""Plain data types that every layer shares."""

from minkocc.structures.phase import Phase, TrainIndex, phase_at, switch_iteration
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

__all__ = ["OCC3D_GRID", "Phase", "TrainIndex", "VoxelGrid", "phase_at", "switch_iteration"]
