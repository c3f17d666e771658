default_scope = "minkocc"

alpha = 0.1
warm_share = None  # of the iterations in the warm start; None: alpha, 1.0: labelled frames alone
replay = 0.0  # of the iterations after the switch that go back to labelled frames
seed = 0
train_mask = "camera"
outside = "label"
unknown = "free"
unknown_weight = 0.1
weight_2d = 1.0  # of Eq. 5, beside lambda_1; its two paths share it
shader_weight = 0.5
tied_weight = 0.5
depth_weight = 0.0  # not of the paper
warm_shader = True
lift_weight = 0.0
vote_weight = 0.0  # beside lambda_1; not of the paper
renderer = "spheres"
render_stride = 8
batch_size = 2
num_workers = 4

randomness = dict(seed="${seed}")
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
# Parts of the network idle in each phase.
# Every process has statistics of its own between the epochs' ends, where SyncBuffersHook takes the
# mean, instead of those of the first one sent to all before every iteration.
model_wrapper_cfg = dict(
    type="MMDistributedDataParallel", find_unused_parameters=True, broadcast_buffers=False
)

default_hooks = dict(
    finite=dict(type="FiniteStepHook"),  # max_skips=N leaves out so many steps without finite loss
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="SafeCheckpointHook", interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    sync_buffers=dict(type="SyncBuffersHook"),
    disjoint_splits=dict(type="DisjointSplitsHook"),
    warm_start=dict(
        type="WarmStartHook",
        alpha="${alpha}",
        warm_share="${warm_share}",
        train_mask="${train_mask}",
    ),
    calibrate=dict(type="CalibrateHook"),
    validation_figures=dict(type="ValidationFiguresHook"),
)
log_processor = dict(type="PhaseLogProcessor", window_size=50)
log_level = "INFO"
visualizer = dict(
    type="Visualizer",
    vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
)
load_from = None
resume = False
