"""MinkOcc: composes encoders, fusion, the generative U-Net and its two heads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from minkocc.models.lift import lifted_cross_entropy
from minkocc.models.losses import occupancy_bce
from minkocc.models.mink_genunet import DecoderLevel
from minkocc.models.occupancy_grid import to_occ3d
from minkocc.models.sync_batch_norm import convert_sync_batch_norm
from minkocc.models.targets import dense_occupancy, known_free, lookup
from minkocc.models.voxel_encoder import NoPointsError
from minkocc.ops.row_sums import count_rows
from minkocc.ops.sparse import SparseTensor
from minkocc.registry import MODELS
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.taxonomy import NUM_CLASSES, OUTSIDE, UNKNOWN, UNVOTED, WEAK_OCCUPIED
from minkocc.structures.voxel_grid import VoxelGrid


@MODELS.register_module()
class MinkOcc(BaseModel):
    """The paper's network (Fig. 2) under the two-phase loss of Eq. 6.

    Args:
        image_encoder: config of ``ImageEncoder``; None with a LiDAR-only voxel encoder.
        voxel_encoder: config of ``DynamicVoxelEncoder``.
        genunet: config of ``MinkGenUNet``.
        semantic_head: config of ``SemanticHead``.
        pulsar_head: config of ``PulsarHead``.
        data_preprocessor: config of ``OccDataPreprocessor``.
        train_mask: ``'camera'``: voxels outside ``mask_camera`` are in no semantic loss; None: all
            are.
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
            those that the network wrongly keeps hide what the pseudo-labels are of. False in the
            paper's recipes, which render all.
        sync_bn: batch norm over all processes: sparse trunk, point encoders and an unfrozen image
            backbone.
        render_predictions: ``predict`` adds the rendered 2D semantics.

    Raises:
        ValueError: a head does not take the genunet's output, or a choice is none of those above.
    """

    def __init__(
        self,
        image_encoder: dict[str, Any] | None,
        voxel_encoder: dict[str, Any],
        genunet: dict[str, Any],
        semantic_head: dict[str, Any],
        pulsar_head: dict[str, Any],
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
        self.pulsar_head = MODELS.build(pulsar_head)
        for name, head in (("semantic_head", semantic_head), ("pulsar_head", pulsar_head)):
            if head["channels"] != self.genunet.out_channels:
                raise ValueError(
                    f"{name}.channels {head['channels']}: expected the width of the genunet's "
                    f"output, its channels[0] = {self.genunet.out_channels}"
                )
        for name, value, known in (
            ("outside", outside, OUTSIDE),
            ("unknown", unknown, UNKNOWN),
            ("train_mask", train_mask, ("camera", None)),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(map(str, known))}")
        if not 0 < unknown_weight <= 1:
            raise ValueError(
                f"unknown_weight {unknown_weight} is not in (0, 1]: use unknown='ignore' for none"
            )
        if not (math.isfinite(occupied_weight) and occupied_weight > 0):
            raise ValueError(f"occupied_weight {occupied_weight} is no weight above 0: 1 is usual")
        self.occupied_weight = occupied_weight
        self.train_mask = train_mask
        self.outside = outside
        self.unknown_weight = unknown_weight if unknown == "free" else 0.0
        self.lambda_1 = lambda_1
        self.lambda_2 = lambda_2
        self.lift_weight = lift_weight
        self.vote_weight = vote_weight
        self.carve_free = carve_free
        self.render_ramp = 1.0
        self.render_predictions = render_predictions
        self.record_levels = False
        """Whether ``predict`` adds ``decoder_levels``, for the figures of pruning."""
        if sync_bn:
            convert_sync_batch_norm(self)

    @property
    def grid(self) -> VoxelGrid:
        """The grid that the network works on."""
        return self.genunet.grid

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
        phase = self.phase_of(data_samples)
        target = self.occupancy_target(data_samples, phase)
        voxels, levels = self.extract_feat(inputs, data_samples, target)
        targets = [level.targets for level in levels if level.targets is not None]
        weights = (self.unknown_weight, self.occupied_weight)
        bce = occupancy_bce([level.logits for level in levels], targets, *weights)
        losses = {"loss_bce": self.lambda_2 * bce}
        logits = self.semantic_head(voxels.feats)
        if phase.needs_dense:
            labels = self.semantic_labels(voxels.coords, data_samples)
            losses["loss_3d_ce"] = self.lambda_1 * self.semantic_head.loss(logits, labels)
        elif self.lift_weight:
            lifted = lifted_cross_entropy(
                logits, voxels.coords, inputs["points"], data_samples, self.grid
            )
            losses["loss_lift_ce"] = self.lift_weight * self.render_ramp * lifted
        if self.vote_weight and not phase.needs_dense:
            voted = lookup(_stacked("voted_labels", data_samples), voxels.coords, UNVOTED)
            weight = self.lambda_1 * self.vote_weight * self.render_ramp
            losses["loss_voted_ce"] = weight * self.semantic_head.balanced_loss(logits, voted)
        if self.pulsar_head.learns(phase):
            rendered = self._rendered(voxels, logits, target)
            losses.update(self._render_losses(*rendered, data_samples, phase))
        return {**losses, **pruning_log(levels, len(data_samples))}

    @torch.no_grad()
    def predict(
        self, inputs: dict[str, Any], data_samples: list[OccDataSample]
    ) -> list[OccDataSample]:
        """Add ``pred_semantics`` uint8 ``(200, 200, 16)`` on the Occ3D grid to every sample.

        With ``render_predictions`` also what ``PulsarHead.predict`` adds, and with
        ``record_levels`` ``decoder_levels``, a ``LevelRecord`` for each decoder level. A sample
        without a point in range is free everywhere and has ``no_points``.
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
                sample.set_metainfo({"decoder_levels": self._records(levels, b)})
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
            feats, chances = nothing(0, self.genunet.out_channels), nothing(0, NUM_CLASSES)
            self._complete(data_samples[b], coords, feats, chances)
            data_samples[b].set_metainfo({"no_points": True})
        return data_samples

    def _complete(
        self, sample: OccDataSample, coords: Tensor, feats: Tensor, chances: Tensor
    ) -> None:
        """What is predicted of a sample's surviving voxels, ``(V, 3)``, ``(V, C)``, ``(V, 17)``."""
        sample.pred_semantics = to_occ3d(coords, chances, self.grid)
        if self.render_predictions:
            self.pulsar_head.predict(feats, chances, self.grid.to_centre(coords), sample)

    @staticmethod
    def phase_of(data_samples: list[OccDataSample]) -> Phase:
        """The one phase of a batch."""
        phases = {sample.phase for sample in data_samples}
        if len(phases) != 1 or None in phases:
            raise ValueError(
                f"a training batch needs one phase, got {sorted(map(str, phases))}: use "
                "WarmStartSampler in the train_dataloader"
            )
        return phases.pop()

    def occupancy_target(self, data_samples: list[OccDataSample], phase: Phase) -> Tensor:
        """uint8 ``(B, X, Y, Z)``: dense occupancy in warm and strong, weak occupancy in weak."""
        if not phase.needs_dense:
            return _stacked("weak_occupancy", data_samples)
        semantics = _stacked("voxel_semantics", data_samples)
        return dense_occupancy(semantics, _stacked("mask_camera", data_samples), self.outside)

    def semantic_labels(self, coords: Tensor, data_samples: list[OccDataSample]) -> Tensor:
        """Occ3D id of every voxel ``(V,)``; 255 outside the grid and the training mask."""
        labels = _stacked("voxel_semantics", data_samples)
        if self.train_mask:
            labels = labels.masked_fill(~_stacked("mask_camera", data_samples), 255)
        return lookup(labels, coords, 255)

    def _records(self, levels: list[DecoderLevel], sample: int) -> list[LevelRecord]:
        """What the decoder levels did to one sample of a batch."""
        records = []
        for level in levels:
            rows = level.coords[:, 0] == sample
            fields = level.coords[rows, 1:], level.logits[rows], level.kept[rows]
            records.append(
                LevelRecord(level.stride, *fields, level.cut[sample], float(level.threshold))
            )
        return records

    def _rendered(
        self, voxels: SparseTensor, logits: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates, features and classes of the voxels that are rendered in training."""
        coords, feats, probs = voxels.coords, voxels.feats.float(), logits.softmax(1)
        if not self.carve_free:
            return coords, feats, probs
        rows = (~known_free(target, coords)).nonzero().squeeze(1)
        return coords[rows], feats[rows], probs[rows]

    def _render_losses(
        self,
        coords: Tensor,
        feats: Tensor,
        probs: Tensor,
        data_samples: list[OccDataSample],
        phase: Phase,
    ) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        share = self.lambda_1 / len(data_samples)
        parts = by_sample(coords, len(data_samples), feats, probs)
        for sample, (own_coords, own_feats, own_probs) in zip(data_samples, parts):
            centres = self.grid.to_centre(own_coords)
            if phase is Phase.WARM:
                terms = self.pulsar_head.warm_loss(own_feats, centres, sample)
            else:
                ramp = self.render_ramp
                terms = self.pulsar_head.loss(own_feats, own_probs, centres, sample, ramp)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + share * term
        return totals


def by_sample(coords: Tensor, samples: int, *values: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Voxels and what belongs to them, sample by sample, in their order.

    Args:
        coords: ``(V, 4)`` = (batch, x, y, z).
        samples: how many there are.
        values: each ``(V, ...)``.

    Yields:
        Indices ``(V_b, 3)`` and the values of each sample.
    """
    if samples == 1:
        yield coords[:, 1:], *values
        return
    sample = coords[:, 0].long()
    order = sample.argsort(stable=True)
    for rows in order.split(count_rows(sample, samples).tolist()):
        yield coords[rows, 1:], *(value[rows] for value in values)


@torch.no_grad()
def pruning_log(levels: list[DecoderLevel], samples: int) -> dict[str, Tensor]:
    """What the training log says of pruning; no loss.

    Returns:
        ``recall_s<stride>``: share of a level's occupied candidates that it would keep without
        knowing the target; ``kept``: voxels a sample that survive; and, where the cap was met,
        ``cut_s<stride>``: voxels a sample that it took.
    """
    log = {}
    for level in levels:
        assert level.targets is not None
        occupied = level.targets == WEAK_OCCUPIED
        found = (occupied & level.likely).sum()
        log[f"recall_s{level.stride}"] = found / occupied.sum().clamp(min=1)
        if any(level.cut):
            log[f"cut_s{level.stride}"] = level.logits.new_full((), sum(level.cut) / samples)
    log["kept"] = levels[-1].kept.sum() / samples
    return log


def _stacked(name: str, data_samples: list[OccDataSample]) -> Tensor:
    return torch.stack([sample.get(name) for sample in data_samples])
