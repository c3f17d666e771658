"""How much of the images each class covers, and how sure the labels are of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import NUM_IDS_2D, OCC3D, Taxonomy


class Coverage:
    """Counts over images, added one by one.

    Args:
        taxonomy: the classes.
    """

    def __init__(self, taxonomy: Taxonomy = OCC3D) -> None:
        self._taxonomy = taxonomy
        self._images = 0
        self._pixels = np.zeros(NUM_IDS_2D, np.int64)
        self._appears = np.zeros(NUM_IDS_2D, np.int64)
        self._confidence = np.zeros(NUM_IDS_2D, np.float64)

    def add(self, labels: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count one image: 2D ids and confidence, ``(H, W)``."""
        counts = np.bincount(labels.ravel(), minlength=NUM_IDS_2D)
        sums = np.bincount(labels.ravel(), confidence.ravel(), minlength=NUM_IDS_2D)
        self._images += 1
        self._pixels += counts
        self._appears += counts > 0
        self._confidence += sums

    def figures(self) -> dict[str, dict[str, Any]]:
        """For every 2D id by name, *unlabelled* first.

        Returns:
            ``pixel_share`` of all pixels, ``images`` in which it appears, ``image_share`` of all,
            and ``mean_confidence`` over its pixels in [0, 1]; None where it has none.
        """
        total = max(int(self._pixels.sum()), 1)
        return {
            name: {
                "pixel_share": float(self._pixels[i] / total),
                "images": int(self._appears[i]),
                "image_share": float(self._appears[i] / max(self._images, 1)),
                "mean_confidence": (
                    float(self._confidence[i] / self._pixels[i] / 255.0)
                    if i and self._pixels[i]
                    else None
                ),
            }
            for i, name in self._taxonomy.names_2d.items()
        }
