# minkocc_strong_a100.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

alpha = 1.0
# Beside all dense labels the 2D ones are auxiliary, and geometry can be asked for more.
model = dict(lambda_bce=1.5, pulsar_head=dict(lambda_2d=0.5))
