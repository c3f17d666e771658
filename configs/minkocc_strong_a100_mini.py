# minkocc_strong_a100.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

alpha = 1.0
# For the few iterations the dense labels, which are right, weigh more than the 2D ones.
model = dict(lambda_1=2.0, lambda_2=2.5)
weight_2d = 0.25
default_hooks = dict(calibrate=dict(unseen_weight=0.15))
