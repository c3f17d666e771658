"""Making 2D pseudo-labels of a data root: which images, into which files, with what result."""
