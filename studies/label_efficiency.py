# Does the method work? The paper's comparison on the synthetic world, and what each part is worth.
#
#   python tools/create_synthetic.py --out data/study --train-scenes 60 --val-scenes 10 \
#       --keyframes 10 --seed 1 --workers 2
#   python tools/create_data.py --root data/study --version v1.0-synthetic --weak-occupancy \
#       --workers 2
#   python tools/create_synthetic.py --out data/study_shifted --train-scenes 0 --val-scenes 5 \
#       --keyframes 10 --seed 2 --shifted --workers 2
#   python tools/create_data.py --root data/study_shifted --version v1.0-synthetic
#   python tools/study.py studies/label_efficiency.py --known results/study/label_efficiency.json
data_root = "data/study"
splits = {"shifted": "data/study_shifted"}  # towers, dusk, mostly the other rig

# 600 frames an epoch: 1,800 iterations. Twenty frames of four validation scenes make the learning
# curves; the last checkpoint is tested on all hundred.
options = {
    "max_epochs": 3,
    "train_cfg.val_interval": 1,
    "val_dataloader.dataset.indices": list(range(0, 40, 2)),
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.logger.interval": 20,
}

_MIXED = {"replay": 0.5, "vote_weight": 1.0, "weight_2d": 1.0}
_AROUND = {"weak_frames": [8, 8], "weak_see_through": 4.0}
# Weak targets of fewer errors: traces of traffic taken out, nothing said where nothing was seen,
# and spheres where the LiDAR saw through left out of the rendering.
_CARVED = {"model.carve_free": True}
_CLEAN = {"weak_frames": [4, 4], "weak_see_through": 4.0, "unknown": "ignore", **_CARVED}
_LONGER = {"max_epochs": 5}
_NO_CAMERA = {"model.image_encoder": None, "model.voxel_encoder.fusion": None}


def _arm(name, label, recipe="semi_a10", **options):
    config = f"configs/minkocc_{recipe}_mini.py"
    return dict(name=name, label=label, config=config, options=options)


_headline = [
    _arm("labels_only", "labels only, 10 %", warm_share=1.0),
    _arm("semi_printed", "semi 10 %, as printed (shader only)", tied_weight=0.0),
    _arm("semi", "semi 10 %, with the tied path"),
    _arm("strong", "strong, 100 %", "strong_a100"),
    _arm("self", "self, 0 %", "self_a0"),
    _arm("mixed_clean", "plus: replay 1/2, votes, clean targets, carved", **_MIXED, **_CLEAN),
]
# What a recipe that is not bound to the paper might do.
_beyond = [
    _arm("mixed", "replay 1/2, lifted labels", replay=0.5, lift_weight=1.0),
    _arm("voted", "semi, voted labels", vote_weight=1.0),
    _arm("mixed_voted", "replay 1/2, voted labels, weight_2d 1", **_MIXED),
    _arm("mixed_around", "the same, all of (8, 8), see-through", **_MIXED, **_AROUND),
]
# Voxels along exact rays in the place of spheres.
_rendering = [
    _arm("semi_voxels", "semi, voxels rendered", renderer="voxels"),
    _arm("plus_voxels", "plus, voxels rendered", renderer="voxels", **_MIXED, **_CLEAN),
]
# The depth of what is rendered, taught by what the accumulated LiDAR knows of it.
_depth = [
    _arm("semi_depth", "semi, rendered depth", depth_weight=1.0),
    _arm("plus_depth", "plus, rendered depth", depth_weight=1.0, **_MIXED, **_CLEAN),
]
# Does what is unlabelled pay with more iterations?
_longer = [
    _arm("labels_only_long", "labels only, 3,000 iterations", warm_share=1.0, **_LONGER),
    _arm("mixed_clean_long", "mixed_clean, 3,000 iterations", **_MIXED, **_CLEAN, **_LONGER),
    _arm("strong_long", "strong, 3,000 iterations", "strong_a100", **_LONGER),
]
_ablations = [
    _arm("replay", "semi, replay 1/8", replay=0.125),
    _arm("lift", "semi, lifted labels", lift_weight=1.0),
    _arm("plain_2d", "semi, no class weights on Eq. 5", **{"model.pulsar_head.beta": 0.0}),
    _arm("weak_8_8", "semi, weak frames (8, 8)", weak_frames=[8, 8]),
    _arm("weak_4_4", "semi, weak frames (4, 4)", weak_frames=[4, 4]),
    _arm("unknown_free", "semi, unknown = free with weight 1", unknown_weight=1.0),
    _arm("unknown_ignored", "semi, unknown ignored", unknown="ignore"),
    _arm("see_through", "semi, see-through filter", weak_see_through=4.0),
    _arm("carved", "semi, known free space not rendered", **_CARVED),
    _arm("sky", "semi, sky as free rays", weak_sky=True),
    _arm("no_confidence", "semi, confidence off", **{"model.pulsar_head.confidence": False}),
    _arm("no_image", "semi, camera features off", **_NO_CAMERA),
    _arm("lidar_only", "semi, LiDAR only: no 2D labels either", weight_2d=0.0, **_NO_CAMERA),
    _arm("no_se", "semi, no squeeze-and-excite", **{"model.genunet.squeeze_excite": False}),
    _arm("one_sweep", "semi, one sweep", sweeps=0),
    _arm("ema", "semi, averaged weights", custom_hooks=[dict(type="EMAHook", momentum=0.002)]),
    _arm("no_mask", "semi, train_mask none", train_mask=None),
    _arm("occupied_2", "semi, occupied weighs 2 in L_bce", **{"model.occupied_weight": 2.0}),
    _arm("alpha_05", "semi 5 %", alpha=0.05),
    _arm("alpha_20", "semi 20 %", alpha=0.2),
    _arm("alpha_50", "semi 50 %", alpha=0.5),
    _arm("alpha_100", "semi's recipe, 100 %", alpha=1.0),
    _arm("vox02", "semi, 0.2 m", "semi_a10_vox02"),
]

blocks = [
    dict(seeds=[0, 1, 2], arms=_headline),
    dict(seeds=[0], arms=_beyond),
    dict(seeds=[0], arms=_rendering),
    dict(seeds=[0], arms=_depth),
    dict(seeds=[0], arms=_longer),
    dict(seeds=[0], arms=_ablations),
]
reference = "semi"
bars = ["labels_only", "semi", "voted", "mixed_voted", "mixed_clean", "strong"]
series = {"alpha": ("alpha", ["self", "alpha_05", "semi", "alpha_20", "alpha_50", "alpha_100"])}
