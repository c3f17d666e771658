# What holds the semi-supervised minis back, in short runs: one epoch each, 600 iterations, a named
# change an arm. What helps is an arm of studies/label_efficiency.py, which trains for three; its
# data and their commands are those of that study.
data_root = "data/study"
options = {
    "max_epochs": 1,
    "val_dataloader.dataset.indices": list(range(0, 40, 2)),
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.logger.interval": 20,
}

_STRONG = {"model.lambda_1": 2.0, "model.lambda_2": 2.5, "weight_2d": 0.25}  # weights of strong
_PLUS = {"replay": 0.5, "vote_weight": 1.0}
_CARVED = {"model.carve_free": True}
_CLEAN = {"weak_frames": [4, 4], "weak_see_through": 4.0, "unknown": "ignore", **_CARVED}


def _arm(name, label, **options):
    return dict(name=name, label=label, config="configs/minkocc_semi_a10_mini.py", options=options)


blocks = [
    dict(
        seeds=[0],
        arms=[
            _arm("labels_only_strong", "labels only, weights of strong", warm_share=1.0, **_STRONG),
            _arm("semi_4", "semi, weight_2d 4"),
            _arm("semi_1", "semi, weight_2d 1, the paper's", weight_2d=1.0),
            _arm("semi_carved", "semi, known free space not rendered", **_CARVED),
            _arm("semi_clean", "semi, that, (4, 4), see-through, unknown ignored", **_CLEAN),
            _arm("plus_strong", "replay 1/2, votes, weights of strong", **_PLUS, **_STRONG),
            _arm("plus_1", "replay 1/2, votes, weight_2d 1", weight_2d=1.0, **_PLUS),
            _arm(
                "plus_clean",
                "the same, clean and carved as above",
                weight_2d=1.0,
                **_PLUS,
                **_CLEAN,
            ),
            _arm("tied_only", "semi, no shader path", weight_2d=2.0, shader_weight=0.0),
        ],
    )
]
reference = "semi_4"
