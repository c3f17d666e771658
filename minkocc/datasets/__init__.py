"""Data: infos, the label budget, the dataset and its transforms."""

from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset

__all__ = ["Occ3DNuScenesDataset"]
