"""Which of many are looked at, where not all can be."""


def spread_indices(total: int, count: int | None) -> list[int]:
    """``count`` of ``range(total)``, each in the middle of its share; all where there are fewer.

    Args:
        total: number of things to choose from.
        count: number of things to choose, at least 1; None chooses all.
    """
    count = total if count is None else min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]
