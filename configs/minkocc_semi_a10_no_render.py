# No render head and no 2D labels: after the switch accumulated LiDAR alone teaches, and no class.
_base_ = ["minkocc_semi_a10.py"]

weight_2d = 0.0
model = dict(pulsar_head=None)
