"""Labels of the synthetic world: occupancy, and pseudo-labels with the faults of segmenters."""
