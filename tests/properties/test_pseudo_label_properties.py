"""Counts of pairs add up to those of one pass, whichever way the pairs are dealt out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minkocc.evaluation.pseudo_label_accuracy import Pairs, accuracy_figures, count_pairs, merge

dealt = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 4))


def random_pairs(rng, size):
    return Pairs(
        rng.integers(0, 6, size),
        rng.uniform(0, 70, size),
        *(rng.integers(0, top, size).astype(np.uint8) for top in (17, 19, 256)),
    )


@given(dealt)
def test_parts_add_up_in_any_order(case):
    seed, size, parts = case
    rng = np.random.default_rng(seed)
    pairs, seen = random_pairs(rng, size), rng.random(size) < 0.7
    part_of = rng.integers(0, parts, size)
    counts = [
        count_pairs(pairs.where(part_of == part), seen[part_of == part])
        for part in rng.permutation(parts)
    ]
    assert accuracy_figures(merge(counts)) == accuracy_figures(count_pairs(pairs, seen))


@given(dealt)
def test_figures_are_shares_and_every_pair_is_counted_once(case):
    seed, size, _ = case
    rng = np.random.default_rng(seed)
    pairs, seen = random_pairs(rng, size), rng.random(size) < 0.7
    found = accuracy_figures(count_pairs(pairs, seen))
    assert found["pairs"] + found["hidden"]["pairs"] == size
    for part in ("classes", "rings", "cameras"):
        rows = found[part].values()
        assert sum(row["pairs"] for row in rows) == found["pairs"] == seen.sum()
        for row in rows:
            shares = [v for v in row.values() if isinstance(v, float)]
            assert all(0.0 <= share <= 1.0 for share in shares)
    error = found["confidence"]["expected_calibration_error"]
    assert error is None or 0.0 <= error <= 1.0
