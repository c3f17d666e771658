# minkocc_self_a0.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

alpha = 0.0
