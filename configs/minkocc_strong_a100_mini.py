# minkocc_strong_a100.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

alpha = 1.0
