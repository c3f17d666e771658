# No image is read: LiDAR alone is the network's input. 2D pseudo-labels teach it all the same.
_base_ = ["minkocc_semi_a10.py"]

read_images = False
image_pretrained = None
model = dict(image_encoder=None, voxel_encoder=dict(fusion=None))
