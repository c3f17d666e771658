"""The data sample that travels from the pipeline to losses, metrics and pictures."""

from __future__ import annotations

from mmengine.structures import BaseDataElement


class OccDataSample(BaseDataElement):
    """Targets and predictions of one frame.

    Meta information (plain values): ``token``, ``scene_name``, ``phase`` (a ``Phase``, or None at
    test time), ``iteration``, ``cameras`` (names of the N views), ``raw_size`` (height and width
    of the largest image on disk), ``lattice`` (the ``RenderLattice`` that 2D labels were read at,
    or None), ``ray_origins`` ``(T, 3)``, ``classes``, the ``ClassGroups`` of the network that
    predicted it, and, where the model records it, ``decoder_levels``, a list of ``LevelRecord``.

    Data fields, each optional:

    * ``ego2img`` ``(N, 4, 4)``: network-input pixels of augmented ego points;
    * ``img2raw`` ``(N, 2, 3)``: shares of the raw image's width and height of network-input pixels,
      where any of these lies outside it;
    * ``ego2cam`` ``(N, 4, 4)``, ``cam2img`` ``(N, 4, 4)``: the unaugmented cameras;
    * ``ego_aug`` ``(4, 4)``: the 3D augmentation;
    * ``voxel_semantics`` uint8 ``(X, Y, Z)``: Occ3D ids, 254 where dropped, 255 where rotated in;
    * ``mask_camera`` bool ``(X, Y, Z)``;
    * ``weak_occupancy`` uint8 ``(X, Y, Z)``: 0 free, 1 occupied, 255 unknown, 254 and 253 in no
      loss;
    * ``img_semantics`` uint8 of 2D ids, ``img_confidence`` uint8 (255 = 1.0), ``(N, h, w)`` at the
      lattice;
    * ``lift_point`` int64, ``lift_label`` uint8 of Occ3D ids, ``lift_confidence`` uint8, ``(M,)``:
      the pseudo-labels of returns, by row of the points;
    * ``pred_semantics`` uint8 ``(200, 200, 16)``: the prediction on the Occ3D grid;
    * ``pred_cells`` int64 ``(M,)``, ``pred_probabilities`` ``(M, K)``: of its occupied voxels, by
      place in the flat grid, the probability of each class of the network;
    * ``rendered_tied``, ``rendered_shader``, ``rendered_target`` uint8 ``(N, h, w)``: rendered 2D
      ids of both paths and the pseudo-labels at the same pixels.
    """

    def pin_memory(self) -> OccDataSample:
        """The same in memory that a GPU copies from directly; torch's dataloader asks for it."""
        pinned: OccDataSample = self.new()
        for name, value in self.items():
            pinned.set_data({name: value.pin_memory() if hasattr(value, "pin_memory") else value})
        return pinned
