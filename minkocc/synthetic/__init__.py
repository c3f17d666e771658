"""A procedural driving world, written in nuScenes and Occ3D format."""
