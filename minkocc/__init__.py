"""minkocc: label-efficient camera + LiDAR 3D semantic occupancy prediction."""

__version__ = "0.1.0"
