"""2D pseudo-labels: what finds boxes, masks and classes in images, and how they become one map."""
