# What the terms of the loss should weigh in the minis, and what is to be said of unknown voxels:
# one epoch each, 600 iterations, to choose by before studies/label_efficiency.py takes three. Its
# data and their commands are those of that study.
data_root = "data/study"
options = {
    "max_epochs": 1,
    "val_dataloader.dataset.indices": list(range(0, 40, 2)),
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.logger.interval": 20,
}

_STRONG = {"model.lambda_1": 2.0, "model.lambda_2": 2.5, "weight_2d": 0.25}
_PLUS = {"replay": 0.5, "vote_weight": 1.0}


def _arm(name, label, **options):
    return dict(name=name, label=label, config="configs/minkocc_semi_a10_mini.py", options=options)


blocks = [
    dict(
        seeds=[0],
        arms=[
            _arm("labels_only_strong", "labels only, weights of strong", warm_share=1.0, **_STRONG),
            _arm("semi_1", "semi, weight_2d 1, the paper's", weight_2d=1.0),
            _arm("semi_4", "semi, weight_2d 4"),
            _arm("semi_strong", "semi, weights of strong", **_STRONG),
            _arm("plus_strong", "plus, weights of strong", **_PLUS, **_STRONG),
            _arm("plus_ignore", "the same, unknown ignored", unknown="ignore", **_PLUS, **_STRONG),
            _arm("plus_1", "plus, weight_2d 1", weight_2d=1.0, **_PLUS),
            _arm("labels_only_4", "labels only, weight_2d 4", warm_share=1.0),
        ],
    )
]
reference = "semi_4"
