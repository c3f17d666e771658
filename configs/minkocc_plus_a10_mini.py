# minkocc_plus_a10.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

replay = 0.5
vote_weight = 1.0
weight_2d = 1.0
