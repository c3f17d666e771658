"""A frame for the steps of a pipeline."""

import pytest

from minkocc.files.infos import read_infos


@pytest.fixture
def frame(linked_root):
    """The second validation frame, which has earlier sweeps, as the dataset hands it on."""
    info = read_infos(linked_root / "minkocc_infos_val.pkl")["data_list"][1]
    return {**info, "data_root": str(linked_root), "phase": None}
