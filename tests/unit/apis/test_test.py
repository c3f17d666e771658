"""Which models have their decoder's levels measured."""

import pytest

from minkocc.apis.test import record_pruning
from minkocc.structures.errors import UserError
from minkocc.structures.voxel_grid import OCC3D_GRID


class Recording:
    grid = OCC3D_GRID
    record_levels = False


class Other:
    grid = OCC3D_GRID


@pytest.mark.parametrize("sweep", [False, True])
def test_a_model_that_can_records_its_levels(sweep):
    model = Recording()
    (metric,) = record_pruning(model, sweep)
    assert model.record_levels
    assert (metric.grid, metric.sweep) == (OCC3D_GRID, sweep)


def test_another_model_is_measured_without():
    model = Other()
    assert record_pruning(model) == []
    assert not hasattr(model, "record_levels")
    with pytest.raises(UserError, match=r"--sweep-threshold: Other has no record_levels.*leave"):
        record_pruning(model, sweep=True)
