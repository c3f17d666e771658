"""minkocc: label-efficient camera + LiDAR 3D semantic occupancy prediction."""

import os

__version__ = "0.1.0"

# OpenMP reads this when torch is imported: how often a thread looks for work before it sleeps. For
# ever, and it takes the core from the data loader's process; never, and a network of thousands of
# small steps waits for sleepers (11,000 of them an iteration, which then took 1.02 instead of
# 0.79 s on two cores).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
