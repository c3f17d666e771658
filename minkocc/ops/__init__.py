"""Geometry and tensor operations without any framework: rays, voxels, sparse layers, spheres."""
