# minkocc_semi_a10_vox01.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

voxel_size = 0.1
