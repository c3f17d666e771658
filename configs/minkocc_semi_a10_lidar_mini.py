# minkocc_semi_a10_lidar.py on the synthetic world, for two CPU cores.
_base_ = ["minkocc_semi_a10_mini.py"]

read_images = False
image_pretrained = None
model = dict(image_encoder=None, voxel_encoder=dict(fusion=None))
