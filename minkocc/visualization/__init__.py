"""Headless pictures: voxels, cameras and rendered semantics as arrays, composed with Pillow."""
