"""Occ3D-style labels made of a recorded scene: LiDAR accumulated, objects along their tracks."""
