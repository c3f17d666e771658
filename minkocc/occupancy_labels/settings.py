"""How labels are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from minkocc.structures.taxonomy import OCC3D, Taxonomy


@dataclass(frozen=True)
class LabelSettings:
    """What may be chosen; lengths in metres.

    Args:
        ego_box: corners ``((x0, y0, z0), (x1, y1, z1))`` of the recording vehicle in its own
            frame: returns inside are left out. None leaves out none.
        min_range: returns nearer to the sensor are left out: echoes of nothing.
        cell: accumulated points are thinned to one a cell of this edge.
        box_margin: boxes are taken so much larger on each side: annotations are tight.
        footing: a return without a class that is less than this above a box's bottom may be the
            ground's as well as the object's, and is left out.
        reach: seconds that a moving object is followed beyond its first and last annotation.
        complete_vehicles: mirror vehicles and close them around what was seen of them.
        gap: how many voxels between two of a surface are filled where no ray has shown them to be
            free; 0 fills none.
        max_rays: LiDAR rays of a scene that are looked along for free space, spread evenly.
        rays_per_crossing: a free voxel is observed once so many rays of the scene have one
            crossing of it; fewer may only touch its corner.
        camera_stride: one camera ray for so many pixels in each direction.
        taxonomy: the classes: which of them move, have no boxes, lose ties or can be completed.
    """

    ego_box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    min_range: float = 1.0
    cell: float = 0.1
    box_margin: float = 0.1
    footing: float = 0.2
    reach: float = 0.5
    complete_vehicles: bool = True
    gap: int = 3
    max_rays: int = 220_000
    rays_per_crossing: int = 5_000
    camera_stride: int = 8
    taxonomy: Taxonomy = OCC3D

    def as_dict(self) -> dict[str, Any]:
        """All that changes a label, JSON-ready."""
        out = asdict(replace(self, taxonomy=OCC3D))
        del out["taxonomy"]
        if self.ego_box is not None:
            out["ego_box"] = [list(corner) for corner in self.ego_box]
        if self.taxonomy != OCC3D:
            out["taxonomy"] = self.taxonomy.meaning()
        return out
