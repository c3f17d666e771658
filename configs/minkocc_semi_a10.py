# The paper's headline: 10 % of the dense 3D labels, then accumulated LiDAR and 2D pseudo-labels.
_base_ = [
    "_base_/default_runtime.py",
    "_base_/taxonomies/occ3d_nuscenes.py",
    "_base_/datasets/occ3d_nuscenes.py",
    "_base_/models/minkocc_r50.py",
    "_base_/schedules/adam_cosine_30e.py",
]
alpha = 0.1
