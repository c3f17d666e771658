max_epochs = 30
lr = 1e-4

train_cfg = dict(
    type="ResumableTrainLoop", max_epochs="${max_epochs}", val_interval="${max_epochs}"
)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# tools/train.py --auto-scale-lr: lr is that of so many samples an iteration, over all processes.
auto_scale_lr = dict(enable=False, base_batch_size=2)

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr="${lr}"))
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        T_max="${max_epochs}",
        end="${max_epochs}",
        eta_min=0.0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
