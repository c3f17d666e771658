image_pretrained = "torchvision://resnet50"

_grid = dict(point_cloud_range="${point_cloud_range}", voxel_size="${voxel_size}")

model = dict(
    type="MinkOcc",
    train_mask="${train_mask}",
    outside="${outside}",
    unknown="${unknown}",
    unknown_weight="${unknown_weight}",
    lift_weight="${lift_weight}",
    vote_weight="${vote_weight}",
    data_preprocessor=dict(type="OccDataPreprocessor"),
    image_encoder=dict(
        type="ImageEncoder",
        image_pretrained="${image_pretrained}",
        backbone=dict(
            type="mmdet.ResNet",
            depth=50,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            norm_cfg=dict(type="BN"),
            style="pytorch",
        ),
        neck=dict(
            type="mmdet.FPN", in_channels=[256, 512, 1024, 2048], out_channels=64, num_outs=4
        ),
    ),
    voxel_encoder=dict(
        type="DynamicVoxelEncoder",
        **_grid,
        point_channels=[32, 64],
        fusion=dict(type="PointFusion", image_channels=64, num_levels=4, out_channels=64),
    ),
    genunet=dict(
        type="MinkGenUNet", **_grid, in_channels=64, channels=[32, 64, 128, 192, 256], blocks=2
    ),
    semantic_head=dict(
        type="SemanticHead",
        channels=32,
        beta=0.9,
        class_groups="${class_groups}",
        taxonomy="${taxonomy}",
    ),
    pulsar_head=dict(
        type="PulsarHead",
        channels=32,
        voxel_size="${voxel_size}",
        renderer="${renderer}",
        render_stride="${render_stride}",
        weight_2d="${weight_2d}",
        shader_weight="${shader_weight}",
        tied_weight="${tied_weight}",
        depth_weight="${depth_weight}",
        warm_shader="${warm_shader}",
        class_groups="${class_groups}",
        taxonomy="${taxonomy}",
    ),
)

del _grid
