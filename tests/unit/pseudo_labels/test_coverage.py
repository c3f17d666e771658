"""Shares and confidences of two small images, worked by hand."""

import numpy as np
import pytest

from minkocc.apis.pseudo_labels.report import coverage_table
from minkocc.pseudo_labels.coverage import Coverage


def test_two_images():
    coverage = Coverage()
    coverage.add(np.array([[5, 5, 0, 0]], np.uint8), np.array([[255, 51, 0, 0]], np.uint8))
    coverage.add(np.array([[18, 5, 5, 5]], np.uint8), np.array([[102, 0, 51, 0]], np.uint8))
    figures = coverage.figures()
    assert len(figures) == 19
    assert figures["car"] == {
        "pixel_share": 5 / 8,
        "images": 2,
        "image_share": 1.0,
        "mean_confidence": pytest.approx((1 + 0.2 + 0.2) / 5),
    }
    assert figures["sky"]["images"] == 1
    assert figures["sky"]["mean_confidence"] == pytest.approx(0.4)
    assert figures["unlabelled"]["pixel_share"] == 0.25
    assert figures["unlabelled"]["mean_confidence"] is None
    assert figures["bus"] == {
        "pixel_share": 0.0, "images": 0, "image_share": 0.0, "mean_confidence": None,
    }  # fmt: skip
    table = coverage_table(figures, "2 of 2 images").splitlines()
    assert len({len(line) for line in table}) == 1
    assert any("car" in line and "62.50" in line and "0.28" in line for line in table)


def test_no_image():
    assert Coverage().figures()["car"]["pixel_share"] == 0.0
