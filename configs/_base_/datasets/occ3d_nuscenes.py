data_root = "data/nuscenes"
paths_leave_root = False  # whether infos may name files outside of it
point_cloud_range = [-40.0, -40.0, -1.0, 40.0, 40.0, 5.4]
voxel_size = 0.4
image_size = [256, 704]
class_groups = dict()  # none: every class by itself
read_images = True  # False: for a network of LiDAR alone, without image_encoder and fusion
sweeps = 9
cache_root = None
cache_by_content = False  # True where copies do not keep the files' times
pseudo_labels = "pseudo_labels"
weak_frames = [8, 0]
weak_min_hits = 1
weak_see_through = None
weak_sky = False

_grid = dict(point_cloud_range="${point_cloud_range}", voxel_size="${voxel_size}")
# What reads 2D labels: where all of it is off, none are needed.
_readers = dict(
    folder="${pseudo_labels}",
    weight_2d="${weight_2d}",
    shader_weight="${shader_weight}",
    tied_weight="${tied_weight}",
    warm_shader="${warm_shader}",
    lift_weight="${lift_weight}",
)

train_pipeline = [
    dict(type="LoadPoints", sweeps="${sweeps}"),
    dict(type="LoadImages", read_images="${read_images}"),
    dict(type="LoadOccupancyLabel", **_grid),
    dict(type="LoadPseudoLabels", **_readers),
    dict(type="LiftPseudoLabels", lift_weight="${lift_weight}"),
    dict(type="SampleLattice", render_stride="${render_stride}"),
    dict(
        type="LoadWeakOccupancy",
        **_grid,
        min_hits="${weak_min_hits}",
        see_through="${weak_see_through}",
        sky="${weak_sky}",
        pseudo_labels="${pseudo_labels}",
    ),
    dict(
        type="LoadVotedLabels",
        **_grid,
        vote_weight="${vote_weight}",
        pseudo_labels="${pseudo_labels}",
    ),
    dict(type="AugmentScene", **_grid, flip=0.5, yaw=0.3925),
    dict(
        type="AugmentImages",
        image_size="${image_size}",
        scale=[0.94, 1.11],
        shift=0.05,
        rotate=5.4,
        colour=0.2,
    ),
    dict(type="DropVoxels", ratio=0.1),
    dict(type="PackOccInputs"),
]
test_pipeline = [
    dict(type="LoadPoints", sweeps="${sweeps}"),
    dict(type="LoadImages", read_images="${read_images}"),
    dict(type="LoadOccupancyLabel", point_cloud_range="${point_cloud_range}"),
    dict(type="AugmentImages", image_size="${image_size}"),
    dict(type="PackOccInputs"),
]

train_dataloader = dict(
    batch_size="${batch_size}",
    num_workers="${num_workers}",
    persistent_workers=True,
    sampler=dict(
        type="WarmStartSampler",
        alpha="${alpha}",
        warm_share="${warm_share}",
        replay="${replay}",
        batch_size="${batch_size}",
        seed="${seed}",
    ),
    dataset=dict(
        type="Occ3DNuScenesDataset",
        data_root="${data_root}",
        paths_leave_root="${paths_leave_root}",
        taxonomy="${taxonomy}",
        ann_file="minkocc_infos_train.pkl",
        pipeline=train_pipeline,
        alpha="${alpha}",
        seed="${seed}",
        weak_frames="${weak_frames}",
        cache_root="${cache_root}",
        cache_by_content="${cache_by_content}",
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers="${num_workers}",
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="Occ3DNuScenesDataset",
        data_root="${data_root}",
        paths_leave_root="${paths_leave_root}",
        taxonomy="${taxonomy}",
        ann_file="minkocc_infos_val.pkl",
        pipeline=test_pipeline,
        weak_frames="${weak_frames}",
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
_training = dict(
    train_mask="${train_mask}",
    outside="${outside}",
    unknown="${unknown}",
    unknown_weight="${unknown_weight}",
    image_pretrained="${image_pretrained}",
)
_metric = dict(
    type="OccupancyMetric",
    training=_training,
    class_groups="${class_groups}",
    taxonomy="${taxonomy}",
)
val_evaluator = dict(**_metric, protocols=["occ3d"])
test_evaluator = dict(**_metric, protocols=["occ3d", "rayiou"])
# Building blocks, not settings.
del _grid, _readers, _training, _metric, train_pipeline, test_pipeline
