# How many dense labels does it take? The labelled frames alone and plus, by the share of labels.
#
#   python tools/create_synthetic.py --out data/curve --train-scenes 25 --val-scenes 7 \
#       --keyframes 10 --seed 3 --workers 16
#   python tools/create_data.py --root data/curve --version v1.0-synthetic \
#       --weak-occupancy configs/minkocc_plus_a10_mini.py --workers 16
#   python tools/study.py studies/label_curve.py --jobs 9
data_root = "data/curve"

# 250 frames an epoch: 1,500 iterations. Ten frames make the learning curves, all seventy the rest.
options = {
    "max_epochs": 6,
    "train_cfg.val_interval": 3,
    "val_dataloader.dataset.indices": list(range(0, 70, 7)),
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.logger.interval": 20,
}


def _arm(name, label, recipe="plus_a10", **options):
    config = f"configs/minkocc_{recipe}_mini.py"
    return dict(name=name, label=label, config=config, options=options)


def _labels(share):
    name, label = f"labels_{round(100 * share):02}", f"labels only, {share:.0%}"
    return _arm(name, label, "semi_a10", alpha=share, warm_share=1.0)


def _plus(share):
    return _arm(f"plus_{round(100 * share):02}", f"plus, {share:.0%}", alpha=share)


_SHARES = (0.05, 0.1, 0.2, 0.5)
blocks = [
    dict(
        seeds=[0],
        arms=[
            _arm("strong", "strong, 100 %", "strong_a100"),
            *(each for share in _SHARES for each in (_labels(share), _plus(share))),
        ],
    )
]
reference = "strong"
bars = ["labels_05", "plus_05", "labels_10", "plus_10", "strong"]
series = {
    "alpha_labels_only": ("alpha", [*(f"labels_{round(100 * s):02}" for s in _SHARES), "strong"]),
    "alpha_plus": ("alpha", [*(f"plus_{round(100 * s):02}" for s in _SHARES), "strong"]),
}
