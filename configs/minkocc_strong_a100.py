# Strongly supervised: all dense labels throughout, 2D pseudo-labels as auxiliary.
_base_ = ["minkocc_semi_a10.py"]

alpha = 1.0
