# The headline recipe on the synthetic world, sized for two CPU cores: the same code paths, all of
# it smaller, and, for the few iterations, more learning rate, rare classes and 2D labels.
_base_ = ["minkocc_semi_a10.py"]

data_root = "data/synthetic"
image_pretrained = None
image_size = [192, 352]
sweeps = 4
batch_size = 1
max_epochs = 10
num_workers = 1
lr = 2e-3
weight_2d = 4.0
auto_scale_lr = dict(base_batch_size=1)

model = dict(
    image_encoder=dict(
        backbone=dict(depth=18, base_channels=16),
        neck=dict(in_channels=[16, 32, 64, 128], out_channels=16),
    ),
    voxel_encoder=dict(point_channels=[16, 24], fusion=dict(image_channels=16, out_channels=24)),
    genunet=dict(in_channels=24, channels=[16, 24, 32, 48, 64], blocks=1, max_voxels=150_000),
    semantic_head=dict(channels=16, beta=0.999),
    pulsar_head=dict(channels=16, shader_channels=(16, 24, 32), beta=0.999),
)
default_hooks = dict(
    logger=dict(interval=5),
    checkpoint=dict(interval=1),
    warm_start=dict(ramp=10, clip_window=20),
    calibrate=dict(unseen_weight=0.1),  # it is surer of its one labelled scene than of others
)
log_processor = dict(window_size=5)
visualizer = dict(vis_backends=[dict(type="LocalVisBackend")], _delete_=True, type="Visualizer")
