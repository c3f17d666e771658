"""Fusion against a loop over pixels that reads like the rule."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minkocc.pseudo_labels.fusion import fuse

COUNT = st.integers(0, 6)


@st.composite
def boxes(draw):
    count, size = draw(COUNT), (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    masks = draw(hnp.arrays(bool, (count, *size)))
    # Few values, so that equal scores are common.
    scores = draw(
        hnp.arrays(np.float32, count, elements=st.sampled_from([2**-10, 0.25, 0.3125, 1.0]))
    )
    ids = draw(hnp.arrays(np.uint8, count, elements=st.integers(1, 18)))
    return masks, scores, ids, size


def naive(masks, scores, ids, size):
    labels, confidence = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for row in range(size[0]):
        for column in range(size[1]):
            holding = [i for i in range(len(masks)) if masks[i][row, column]]
            if holding:
                best = max(holding, key=lambda i: (scores[i], -i))
                labels[row, column] = ids[best]
                confidence[row, column] = max(1, round(float(scores[best]) * 255))
    return labels, confidence


@given(boxes())
def test_fusion_is_the_rule_pixel_by_pixel(case):
    for found, expected in zip(fuse(*case), naive(*case)):
        assert np.array_equal(found, expected)


@given(boxes(), st.randoms())
def test_the_order_of_boxes_of_different_scores_does_not_matter(case, random):
    masks, _, ids, size = case
    scores = np.linspace(0.1, 0.9, len(ids)).astype(np.float32)
    order = list(range(len(ids)))
    random.shuffle(order)
    shuffled = fuse(masks[order], scores[order], ids[order], size)
    for found, expected in zip(shuffled, fuse(masks, scores, ids, size)):
        assert np.array_equal(found, expected)
