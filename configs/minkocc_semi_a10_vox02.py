# Table II's 0.2 m row: a finer grid, trained from 0.4 m labels and native weak targets.
_base_ = ["minkocc_semi_a10.py"]

voxel_size = 0.2
