"""MinkOcc: composes encoders, fusion, the generative U-Net and its two heads."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from minkocc.models.by_sample import by_sample
from minkocc.models.group_index import GroupIndex
from minkocc.models.lift import lifted_cross_entropy
from minkocc.models.losses import occupancy_bce
from minkocc.models.mink_genunet import DecoderLevel
from minkocc.models.occupancy_grid import occ3d_cells, to_occ3d
from minkocc.models.part_fit import check_parts
from minkocc.models.pruning_log import level_records, pruning_log
from minkocc.models.sync_batch_norm import convert_sync_batch_norm
from minkocc.models.targets import TrainingTargets, known_free, phase_of
from minkocc.models.voxel_encoder import NoPointsError
from minkocc.ops.sparse import SparseTensor
from minkocc.registry import MODELS
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.voxel_grid import VoxelGrid


@MODELS.register_module()
class MinkOcc(BaseModel):
    """The paper's network (Fig. 2) under the two-phase loss of Eq. 6.

    Args:
        image_encoder: config of ``ImageEncoder``; None with a LiDAR-only voxel encoder.
        voxel_encoder: config of ``DynamicVoxelEncoder``.
        genunet: config of ``MinkGenUNet``.
        semantic_head: config of ``SemanticHead``.
        pulsar_head: config of ``PulsarHead``; None renders nothing, in training or in prediction.
        data_preprocessor: config of ``OccDataPreprocessor``.
        train_mask: ``'camera'``: the dense semantic loss counts voxels inside ``mask_camera``
            only; None: all voxels.
        outside: what the occupancy branch is taught of a dense label outside ``mask_camera``:
            ``'label'``, ``'free'``, or ``'ignore'``, under which the network floods it.
        unknown: what it is taught where a weak target knows nothing: ``'free'`` or ``'ignore'``.
        unknown_weight: of that ``'free'``, beside 1 for what is known.
        occupied_weight: of occupied voxels in L_bce, beside 1 of free ones.
        lambda_1: of Eq. 6, of the semantic term: L_3D.ce while there are dense labels, L_2D.ce
            after. How the latter is split over its two paths stands in ``pulsar_head``.
        lambda_2: of Eq. 6, of L_bce, the mean over the decoder's levels.
        lift_weight: of the cross-entropy on pseudo-labels lifted to the returns' voxels in the
            weak phase; 0 in the paper's recipes.
        vote_weight: of the class-balanced cross-entropy on labels that the returns of several
            keyframes voted for, beside lambda_1 in the weak phase; 0 in the paper's recipes.
        carve_free: in training, do not render voxels that the occupancy target knows to be free:
            wrongly kept voxels hide the objects that the pseudo-labels show. False in the paper's
            recipes, which render all.
        sync_bn: batch norm over all processes: sparse trunk, point encoders and an unfrozen image
            backbone.
        render_predictions: ``predict`` adds the rendered 2D semantics.

    Raises:
        ValueError: a part does not take what another one gives, or a choice is none of those above.
    """

    def __init__(
        self,
        image_encoder: dict[str, Any] | None,
        voxel_encoder: dict[str, Any],
        genunet: dict[str, Any],
        semantic_head: dict[str, Any],
        pulsar_head: dict[str, Any] | None,
        data_preprocessor: dict[str, Any] | None = None,
        train_mask: str | None = "camera",
        outside: str = "label",
        unknown: str = "free",
        unknown_weight: float = 0.1,
        occupied_weight: float = 1.0,
        lambda_1: float = 0.5,
        lambda_2: float = 1.0,
        lift_weight: float = 0.0,
        vote_weight: float = 0.0,
        carve_free: bool = False,
        sync_bn: bool = False,
        render_predictions: bool = False,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.image_encoder = MODELS.build(image_encoder) if image_encoder else None
        self.voxel_encoder = MODELS.build(voxel_encoder)
        self.genunet = MODELS.build(genunet)
        self.semantic_head = MODELS.build(semantic_head)
        self.pulsar_head = MODELS.build(pulsar_head) if pulsar_head else None
        check_parts(self, {"semantic_head": semantic_head, "pulsar_head": pulsar_head})
        self.targets = TrainingTargets(
            train_mask, outside, unknown, unknown_weight, occupied_weight
        )
        self.lambda_1 = lambda_1
        self.lambda_2 = lambda_2
        self.lift_weight = lift_weight
        self.vote_weight = vote_weight
        self.carve_free = carve_free
        self.render_ramp = 1.0
        self.render_predictions = render_predictions
        self.record_levels = False
        """Whether ``predict`` adds ``decoder_levels``, for the figures of pruning."""
        self.record_probabilities = False
        """Whether ``predict`` adds ``pred_cells`` and ``pred_probabilities``, for the viewer."""
        if sync_bn:
            convert_sync_batch_norm(self)

    @property
    def grid(self) -> VoxelGrid:
        """The grid that the network works on."""
        return self.genunet.grid

    @property
    def classes(self) -> GroupIndex:
        """The classes that the network tells apart."""
        classes: GroupIndex = self.semantic_head.classes
        return classes

    def set_render_ramp(self, ramp: float) -> None:
        """Scale the 2D term after the switch; ``WarmStartHook`` sets it every iteration."""
        self.render_ramp = ramp

    def forward(
        self,
        inputs: dict[str, Any],
        data_samples: list[OccDataSample],
        mode: str = "tensor",
    ) -> Any:
        """Mode of mmengine: ``'loss'``, ``'predict'`` or ``'tensor'`` (logits of the voxels)."""
        if mode == "loss":
            return self.loss(inputs, data_samples)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        voxels, _ = self.extract_feat(inputs, data_samples)
        return voxels.coords, self.semantic_head(voxels.feats)

    def extract_feat(
        self,
        inputs: dict[str, Any],
        data_samples: list[OccDataSample],
        target: Tensor | None = None,
    ) -> tuple[SparseTensor, list[DecoderLevel]]:
        """Completed voxels and the decoder's levels of a batch.

        Raises:
            NoPointsError: a sample has no point inside the grid.
        """
        imgs = inputs["imgs"]
        levels = self.image_encoder(imgs) if self.image_encoder is not None else []
        ego2img = torch.stack([sample.ego2img for sample in data_samples])
        try:
            feats, coords = self.voxel_encoder(
                inputs["points"],
                levels,
                ego2img,
                imgs.shape[-2:],
                [sample.get("img2raw") for sample in data_samples],
            )
        except NoPointsError as error:
            tokens = [data_samples[b].token for b in error.samples]
            raise NoPointsError(error.samples, error.grid, tokens) from error
        return self.genunet(feats, coords, target)

    def loss(self, inputs: dict[str, Any], data_samples: list[OccDataSample]) -> dict[str, Tensor]:
        """Eq. 6 under the phase that the samples carry, and what the log says of pruning.

        Raises:
            ValueError: the batch mixes phases.
        """
        phase = phase_of(data_samples)
        target = self.targets.occupancy(data_samples, phase)
        voxels, levels = self.extract_feat(inputs, data_samples, target)
        losses = {"loss_bce": self.lambda_2 * self._occupancy_loss(levels)}
        logits = self.semantic_head(voxels.feats)
        if phase.needs_dense:
            labels = self.classes.index_of(self.targets.semantics(voxels.coords, data_samples))
            losses["loss_3d_ce"] = self.lambda_1 * self.semantic_head.loss(logits, labels)
        elif self.lift_weight:
            lifted = lifted_cross_entropy(
                logits, voxels.coords, inputs["points"], data_samples, self.grid, self.classes
            )
            losses["loss_lift_ce"] = self.lift_weight * self.render_ramp * lifted
        if self.vote_weight and not phase.needs_dense:
            voted = self.classes.index_of(self.targets.votes(voxels.coords, data_samples))
            weight = self.lambda_1 * self.vote_weight * self.render_ramp
            losses["loss_voted_ce"] = weight * self.semantic_head.balanced_loss(logits, voted)
        if self.pulsar_head is not None and self.pulsar_head.learns(phase):
            shown = self._rendered(voxels, logits, target)
            how = (self.grid, target, data_samples, phase, self.lambda_1, self.render_ramp)
            losses.update(self.pulsar_head.batch_loss(*shown, *how))
        return {**losses, **pruning_log(levels, len(data_samples))}

    @torch.no_grad()
    def predict(
        self, inputs: dict[str, Any], data_samples: list[OccDataSample]
    ) -> list[OccDataSample]:
        """Add ``pred_semantics`` uint8 ``(200, 200, 16)`` on the Occ3D grid to every sample.

        With ``render_predictions`` also what ``PulsarHead.predict`` adds, and with
        ``record_levels`` ``decoder_levels``, a ``LevelRecord`` for each decoder level; with
        ``record_probabilities`` ``pred_cells`` and ``pred_probabilities``. A sample without a
        point in range is free everywhere and has ``no_points``.
        """
        try:
            voxels, levels = self.extract_feat(inputs, data_samples)
        except NoPointsError as error:
            return self._predict_without(error.samples, inputs, data_samples)
        probs = self.semantic_head(voxels.feats).softmax(1)
        parts = by_sample(voxels.coords, len(data_samples), voxels.feats, probs)
        for b, (sample, (coords, feats, chances)) in enumerate(zip(data_samples, parts)):
            self._complete(sample, coords, feats, chances)
            if self.record_levels:
                sample.set_metainfo({"decoder_levels": level_records(levels, b)})
        return data_samples

    def _predict_without(
        self, empty: list[int], inputs: dict[str, Any], data_samples: list[OccDataSample]
    ) -> list[OccDataSample]:
        """Predict the samples that have points; the network knows nothing of the others."""
        seen = [b for b in range(len(data_samples)) if b not in empty]
        if seen:
            points = [inputs["points"][b] for b in seen]
            part = {"points": points, "imgs": inputs["imgs"][seen]}
            self.predict(part, [data_samples[b] for b in seen])
        for b in empty:
            nothing = inputs["imgs"].new_zeros
            coords = nothing(0, 3, dtype=torch.int32)
            feats = nothing(0, self.genunet.out_channels)
            chances = nothing(0, len(self.classes.groups))
            self._complete(data_samples[b], coords, feats, chances)
            data_samples[b].set_metainfo({"no_points": True})
        return data_samples

    def _complete(
        self, sample: OccDataSample, coords: Tensor, feats: Tensor, chances: Tensor
    ) -> None:
        """What is predicted of a sample's surviving voxels, ``(V, 3)``, ``(V, C)``, ``(V, K)``."""
        sample.pred_semantics = to_occ3d(coords, chances, self.grid, self.classes)
        if self.record_probabilities:
            sample.pred_cells, summed = occ3d_cells(coords, chances, self.grid)
            sample.pred_probabilities = summed / summed.sum(1, keepdim=True)
        sample.set_metainfo({"classes": self.classes.groups})
        if self.render_predictions and self.pulsar_head is not None:
            self.pulsar_head.predict(feats, chances, self.grid.to_centre(coords), sample)

    def _occupancy_loss(self, levels: list[DecoderLevel]) -> Tensor:
        logits = [level.logits for level in levels]
        targets = [level.targets for level in levels if level.targets is not None]
        rules = self.targets
        return occupancy_bce(logits, targets, rules.weight_of_unknown, rules.occupied_weight)

    def _rendered(
        self, voxels: SparseTensor, logits: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates, features and classes of the voxels that are rendered in training."""
        coords, feats, probs = voxels.coords, voxels.feats.float(), logits.softmax(1)
        if not self.carve_free:
            return coords, feats, probs
        rows = (~known_free(target, coords)).nonzero().squeeze(1)
        return coords[rows], feats[rows], probs[rows]
