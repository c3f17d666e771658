"""Triangle meshes of everything that stands or moves in the synthetic world."""
