# Self-supervised: no dense label is read; accumulated LiDAR and 2D pseudo-labels from the start.
_base_ = ["minkocc_semi_a10.py"]

alpha = 0.0
