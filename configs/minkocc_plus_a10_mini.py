# minkocc_plus_a10.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

replay = 0.5
vote_weight = 1.0
weak_frames = [4, 4]
weak_see_through = 4.0
unknown = "ignore"
model = dict(carve_free=True)
weight_2d = 1.0
