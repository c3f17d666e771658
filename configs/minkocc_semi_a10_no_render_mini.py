# minkocc_semi_a10_no_render.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

weight_2d = 0.0
model = dict(pulsar_head=None)
