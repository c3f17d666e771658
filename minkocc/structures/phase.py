"""The phases of a run and the index that carries a phase from the sampler to the loss."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple


class Phase(str, enum.Enum):
    """Which supervision a sample gets (paper Sec. IV-A)."""

    WARM = "warm"
    """Dense 3D labels of the budgeted scenes."""
    WEAK = "weak"
    """Accumulated LiDAR and 2D pseudo-labels."""
    STRONG = "strong"
    """Dense 3D labels for everything, 2D pseudo-labels as auxiliary (alpha = 1)."""

    @property
    def needs_dense(self) -> bool:
        """Whether the phase reads dense 3D labels."""
        return self is not Phase.WEAK


def has_2d_term(
    phase: Phase, weight_2d: float, shader_weight: float, tied_weight: float, warm_shader: bool
) -> bool:
    """Whether a phase has a rendered 2D term: without one nothing is rendered, no label read.

    Args:
        phase: of the sample.
        weight_2d: of the term.
        shader_weight: of its shader path, the only one in the warm start.
        tied_weight: of its tied path.
        warm_shader: whether the shader learns during the warm start.
    """
    if phase is Phase.WARM:
        return bool(weight_2d and shader_weight and warm_shader)
    return bool(weight_2d and (shader_weight or tied_weight))


class TrainIndex(NamedTuple):
    """What ``WarmStartSampler`` yields: a dataset index, and when and under which phase it is used.

    A plain tuple of plain values, so that it passes through persistent, prefetching workers
    unchanged.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    iteration: int
    phase: Phase


def check_alpha(alpha: float) -> float:
    """Return ``alpha`` as a float.

    Raises:
        ValueError: it is not in [0, 1].
    """
    if not 0.0 <= float(alpha) <= 1.0:
        raise ValueError(f"alpha {alpha} is not a share: use a value from 0 to 1, e.g. 0.1 for 10%")
    return float(alpha)


def warm_share_of(alpha: float, warm_share: float | None = None) -> float:
    """The share of the iterations that the warm start takes: ``alpha``'s, if not said otherwise.

    Args:
        alpha: share of the scenes whose dense labels may be read.
        warm_share: 1 trains on the labelled frames alone; None, as in the paper, means ``alpha``.

    Raises:
        ValueError: either is outside [0, 1], or there is a warm start of frames without labels,
            or labels of all frames that are not used throughout.
    """
    if warm_share is None:
        return check_alpha(alpha)
    if not 0.0 <= float(warm_share) <= 1.0:
        raise ValueError(
            f"warm_share {warm_share} is no share: use a value from 0 to 1, or None for alpha's"
        )
    if check_alpha(alpha) in (0.0, 1.0) and warm_share != alpha:
        raise ValueError(
            f"warm_share {warm_share} with alpha {alpha:g}: without dense labels there is no warm "
            "start, and with all of them there is no switch; leave it at None"
        )
    if warm_share == 0 < alpha:
        raise ValueError(f"warm_share 0 uses none of alpha {alpha:g}'s labels: use alpha=0")
    return float(warm_share)


def check_replay(replay: float, alpha: float, warm_share: float | None = None) -> float:
    """Return ``replay`` where there is something to replay, and a time to do it in.

    Args:
        replay: share of the iterations after the switch that go back to labelled frames.
        alpha: share of the scenes with dense labels.
        warm_share: as in ``phase_at``.

    Raises:
        ValueError: it is outside [0, 1), or no iteration would be one of replay.
    """
    if not 0 <= replay < 1:
        raise ValueError(f"replay {replay} is outside [0, 1): 0.125 replays every 8th iteration")
    share = warm_share_of(alpha, warm_share)
    if replay and (alpha == 0 or share == 1):
        raise ValueError(
            f"replay {replay} with alpha {alpha:g} and a warm start of {share:g}: there are no "
            "dense labels to go back to, or no iterations after the warm start; leave it at 0"
        )
    return float(replay)


def switch_iteration(max_iters: int, warm_share: float) -> int:
    """The first iteration after the warm start: ``ceil(warm_share * max_iters)``."""
    return math.ceil(check_alpha(warm_share) * max_iters - 1e-9)


def phase_at(
    iteration: int, max_iters: int, alpha: float, warm_share: float | None = None
) -> Phase:
    """The phase of an iteration, a pure function of progress (paper Eq. 6).

    Args:
        iteration: 0-based, global over the run.
        max_iters: length of the run.
        alpha: share of the scenes with dense labels; 1 makes the whole run ``strong``.
        warm_share: share of the iterations spent in the warm start; None for ``alpha``.

    Raises:
        ValueError: ``alpha`` or ``warm_share`` is outside [0, 1], or they do not go together.
    """
    share = warm_share_of(alpha, warm_share)
    if alpha == 1.0:
        return Phase.STRONG
    return Phase.WARM if iteration < switch_iteration(max_iters, share) else Phase.WEAK
