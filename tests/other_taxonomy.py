"""A taxonomy of eight classes, and Occ3D's 17 as those: what else is another taxonomy's truth."""

import numpy as np

from minkocc.config.classes import read_taxonomy
from minkocc.structures.taxonomy import FREE, class_id
from tests.forked import ROOT

DRIVING8_FILE = ROOT / "configs" / "_base_" / "taxonomies" / "driving8.py"
DRIVING8 = read_taxonomy(DRIVING8_FILE).meaning()
GROUPS_OF_OCC3D = {
    "road": ["driveable_surface"],
    "path": ["sidewalk"],
    "ground": ["terrain", "other_flat"],
    "building": ["others", "barrier", "manmade"],
    "pole": ["traffic_cone"],
    "plant": ["vegetation"],
    "person": ["bicycle", "motorcycle", "pedestrian"],
    "vehicle": ["bus", "car", "construction_vehicle", "trailer", "truck"],
}

TO_DRIVING8 = np.arange(256, dtype=np.uint8)
"""Ids by Occ3D's ids; 17 stays free, and what is no class stays that."""
for number, members in enumerate(GROUPS_OF_OCC3D.values()):
    TO_DRIVING8[[class_id(name) for name in members]] = number
assert TO_DRIVING8[FREE] == FREE

TO_DRIVING8_2D = np.arange(256, dtype=np.uint8)
"""2D ids by Occ3D's."""
TO_DRIVING8_2D[1:18] = TO_DRIVING8[:17] + 1
