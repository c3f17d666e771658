"""The Pulsar head: voxels as spheres, rendered into the cameras and compared to pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from minkocc.models.by_sample import by_sample
from minkocc.models.group_index import group_index
from minkocc.models.losses import check_beta, soft_cross_entropy_2d
from minkocc.models.neural_shader import NeuralShader
from minkocc.models.render_cameras import RenderCameras, lattice_intrinsics
from minkocc.models.rendered_depth import depth_loss, known_depths
from minkocc.models.renderers import build_renderer
from minkocc.ops.exact_products import exact_products
from minkocc.registry import MODELS
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase, has_2d_term
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.voxel_grid import VoxelGrid

_LOG_FLOOR = 1e-6
"""Added to rendered probabilities before the logarithm; a clamp would have no gradient below it."""


@dataclass
class RenderedViews:
    """2D semantics of the six cameras of one sample at render resolution."""

    shader_logits: Tensor
    """``(N, K, h, w)``: the neural shader over the rendered features."""
    tied_probs: Tensor
    """``(N, K, h, w)``: the voxel classifier's probabilities, rendered."""
    coverage: Tensor
    """``(N, h, w)``: share of each pixel that voxels cover."""


@MODELS.register_module()
class PulsarHead(BaseModule):
    """Differentiable sphere rendering (paper Sec. IV-C, Eqs. 2, 3 and 5).

    A sphere sits at every voxel centre; its feature is the GenUNet's output, the vector that the
    semantic head reads. Opacity is ``sigmoid(4 + W f)`` and the radius lies in [0.5, 0.9] voxels,
    starting at 0.7, with W zero at first: opacity stands in Eq. 2's exponent, so that random
    opacities would override depth.

    Differs from the paper: beside the shader path, the classifier's probabilities are rendered and
    supervised too (tied path), because the shader alone does not train what inference uses.

    Args:
        channels: width of the GenUNet's output.
        voxel_size: metres.
        render_stride: raw pixels per rendered pixel, that of the pipeline's ``SampleLattice``.
        gamma: depth sensitivity at 0.4 m voxels; scales with the voxel size.
        eps: background term.
        depth_range: near and far end of the normalised depth, metres.
        max_hits: nearest spheres that a pixel blends.
        weight_2d: of L_2D.ce, beside lambda_1 of Eq. 6; 1 in the paper, 0 turns it off.
        shader_weight: of the shader path. The paper has this path alone. Only the ratio of the two
            counts; a path of weight 0 is not rendered.
        tied_weight: of the tied path.
        depth_weight: of the rendered depth against what the occupancy target knows of it, after the
            switch; 0 in the paper's recipes. It teaches opacities, and what they are made of.
        warm_shader: train the shader during the warm start on detached renders.
        min_coverage: pixels covered less are in no tied loss.
        beta: of Eq. 4's class weights, applied to Eq. 5; 0 weighs all pixels alike, as the paper.
        confidence: weigh pixels by the confidence of their pseudo-label, as Eq. 5; False: every
            labelled pixel weighs 1.
        class_groups: as ``ClassGroups.of`` takes them; None: every class by itself.
        taxonomy: as ``Taxonomy.of`` takes it: whose classes; None: Occ3D's 17.
        renderer: ``'spheres'``, the paper's, or the ``'voxels'`` themselves, along exact rays:
            opacity is then that of an edge's length, and radius, gamma and eps have no use.
            ``'pytorch3d'``: the paper's spheres by that package, see ``ops.pulsar_render``.
        shader_channels: width of the shader at full, half and quarter resolution, multiples of 4.

    Raises:
        ValueError: ``beta`` is outside [0, 1), ``render_stride`` below 1, or ``renderer`` unknown.
    """

    def __init__(
        self,
        channels: int,
        voxel_size: float,
        render_stride: int = 8,
        gamma: float = 3e-3,
        eps: float = 1e-6,
        depth_range: tuple[float, float] = (1.0, 60.0),
        max_hits: int = 8,
        weight_2d: float = 1.0,
        shader_weight: float = 0.5,
        tied_weight: float = 0.5,
        depth_weight: float = 0.0,
        warm_shader: bool = True,
        min_coverage: float = 0.5,
        beta: float = 0.0,
        confidence: bool = True,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        taxonomy: Mapping[str, Any] | None = None,
        renderer: str = "spheres",
        shader_channels: tuple[int, int, int] = (32, 48, 64),
    ) -> None:
        super().__init__()
        if render_stride < 1:
            raise ValueError(f"render_stride {render_stride} is not positive: 8 is usual")
        check_beta(beta)
        self.render_stride = render_stride
        self.depth_range = depth_range
        self.renderer = build_renderer(renderer, voxel_size, depth_range, max_hits, gamma, eps)
        self.weight_2d = weight_2d
        self.shader_weight = shader_weight
        self.tied_weight = tied_weight
        self.depth_weight = depth_weight
        self.warm_shader = warm_shader
        self.min_coverage = min_coverage
        self.beta = beta
        self.confidence = confidence
        self.sphere = nn.Linear(channels, 2)
        nn.init.zeros_(self.sphere.weight)
        nn.init.zeros_(self.sphere.bias)
        self.classes = group_index(class_groups, taxonomy)
        self.shader = NeuralShader(channels, len(self.classes.groups), shader_channels)

    def render(
        self, feats: Tensor, probs: Tensor, centres: Tensor, sample: OccDataSample
    ) -> RenderedViews:
        """Render one sample's voxels into its unaugmented cameras.

        Args:
            feats: ``(V, C)`` GenUNet output.
            probs: ``(V, K)`` softmax of the semantic head.
            centres: ``(V, 3)`` in the augmented ego frame, metres.
            sample: gives cameras, ``ego_aug``, the raw image size and the lattice.
        """
        cameras = self.cameras(sample)
        (rendered, tied), coverage = self._project(feats, [feats, probs], centres, cameras)
        return RenderedViews(self.shader(rendered), _normalised(tied, coverage), coverage)

    def cameras(self, sample: OccDataSample) -> RenderCameras:
        """The sample's unaugmented cameras, as the augmented voxels are rendered into them."""
        back = torch.linalg.inv_ex(sample.ego_aug.double()).inverse
        lattice = self.lattice(sample)
        return RenderCameras(
            sample.ego2cam.double() @ back,
            lattice_intrinsics(sample.cam2img, lattice),
            lattice.size(sample.raw_size),
        )

    def _project(
        self, feats: Tensor, values: list[Tensor], centres: Tensor, cameras: RenderCameras
    ) -> tuple[list[Tensor], Tensor]:
        """Values of the voxels rendered, each ``(N, C, h, w)``, and coverage ``(N, h, w)``."""
        # Half precision steps the opacity by 5e-4, which Eq. 2 divides by gamma in an exponent.
        with exact_products(feats.device.type):
            raw = self.sphere(feats.float())
        out = self.renderer(raw, torch.cat(values, dim=1), centres, *cameras)
        return list(out.values.split([v.shape[1] for v in values], dim=1)), out.coverage

    def shares(self) -> tuple[float, float]:
        """What shader path and tied path weigh; together ``weight_2d``, or nothing."""
        total = self.shader_weight + self.tied_weight
        if not total:
            return 0.0, 0.0
        shader = self.weight_2d * self.shader_weight / total
        return shader, self.weight_2d * self.tied_weight / total

    def learns(self, phase: Phase) -> bool:
        """Whether a phase has a 2D term or one of depth: without one nothing is rendered."""
        depth = bool(self.depth_weight) and phase is not Phase.WARM
        return depth or has_2d_term(
            phase, self.weight_2d, self.shader_weight, self.tied_weight, self.warm_shader
        )

    def predict(self, feats: Tensor, probs: Tensor, centres: Tensor, sample: OccDataSample) -> None:
        """Add the rendered 2D semantics to a sample.

        ``rendered_tied`` and ``rendered_shader``, uint8 ``(N, h, w)`` of 2D ids: the tied path has
        0 where voxels cover too little of a pixel, the shader, which paints every pixel, never.
        ``rendered_target``: the pseudo-labels at those pixels, if the sample has any.
        """
        views = self.render(feats, probs, centres, sample)
        tied = self.classes.id_of(views.tied_probs.argmax(1)) + 1
        sample.rendered_tied = torch.where(views.coverage > self.min_coverage, tied, 0)
        sample.rendered_shader = self.classes.id_of(views.shader_logits.argmax(1)) + 1
        if "img_semantics" in sample:
            sample.rendered_target = self._at_lattice("img_semantics", sample)

    def batch_loss(
        self,
        coords: Tensor,
        feats: Tensor,
        probs: Tensor,
        grid: VoxelGrid,
        target: Tensor,
        data_samples: Sequence[OccDataSample],
        phase: Phase,
        weight: float,
        ramp: float,
    ) -> dict[str, Tensor]:
        """The rendered terms of a batch: the mean over its samples.

        Args:
            coords: ``(V, 4)`` = (batch, x, y, z) of the voxels that are rendered.
            feats: ``(V, C)``.
            probs: ``(V, K)``.
            grid: of the coordinates.
            target: uint8 ``(B, X, Y, Z)``, what the occupancy branch is taught: depth is too.
            data_samples: of the batch.
            phase: of the batch; in the warm start the shader alone learns.
            weight: of all terms, lambda_1 of Eq. 6.
            ramp: of those after the switch.

        Returns:
            The terms by name; those whose weight is 0 are not there.
        """
        totals: dict[str, Tensor] = {}
        share = weight / len(data_samples)
        parts = by_sample(coords, len(data_samples), feats, probs)
        for b, (sample, (own_coords, own_feats, own_probs)) in enumerate(zip(data_samples, parts)):
            centres = grid.to_centre(own_coords)
            if phase is Phase.WARM:
                terms = self.warm_loss(own_feats, centres, sample)
            else:
                known = self.known_depths(target[b], grid, sample) if self.depth_weight else None
                terms = self.loss(own_feats, own_probs, centres, sample, ramp, known)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + share * term
        return totals

    def known_depths(self, target: Tensor, grid: VoxelGrid, sample: OccDataSample) -> Tensor:
        """What an occupancy target ``(X, Y, Z)`` knows of the depths that a sample is rendered at.

        Returns:
            As ``rendered_depth.known_depths``.
        """
        return known_depths(target, grid, self.cameras(sample), self.depth_range)

    def loss(
        self,
        feats: Tensor,
        probs: Tensor,
        centres: Tensor,
        sample: OccDataSample,
        ramp: float,
        known: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Eq. 5 on both paths, weighted by ``shares`` and the switch's ``ramp``, and the depth.

        ``batch_loss`` multiplies them by lambda_1 of Eq. 6. Of a path of weight 0 nothing is
        rendered, and its loss is not there; nor is that of depth without ``known``, of
        ``known_depths``.
        """
        shader, tied = self.shares()
        values = [feats] * bool(shader) + [probs] * bool(tied)
        values += [] if known is None else [centres]
        if not values:
            return {}
        cameras = self.cameras(sample)
        images, coverage = self._project(feats, values, centres, cameras)
        losses = {}
        if known is not None:
            places = _normalised(images.pop(), coverage)
            covered = coverage.detach() > self.min_coverage
            error = depth_loss(places, covered, known, cameras)
            losses["loss_depth"] = ramp * self.depth_weight * error
        if images:
            losses.update(self._losses_2d(images, coverage, sample, ramp))
        return losses

    def _losses_2d(
        self, images: list[Tensor], coverage: Tensor, sample: OccDataSample, ramp: float
    ) -> dict[str, Tensor]:
        """Eq. 5 of the paths that have a weight, from their rendered images."""
        shader, tied = self.shares()
        labels, confidence = self._targets(sample)
        losses = {}
        if shader:
            log_probs = self.shader(images[0]).float().log_softmax(1)
            cost = soft_cross_entropy_2d(log_probs, labels, confidence, self.beta)
            losses["loss_2d_ce_shader"] = ramp * shader * cost
        if tied:
            covered = confidence * (coverage.detach() > self.min_coverage)
            log_probs = (_normalised(images[-1], coverage).float() + _LOG_FLOOR).log()
            cost = soft_cross_entropy_2d(log_probs, labels, covered, self.beta)
            losses["loss_2d_ce_tied"] = ramp * tied * cost
        return losses

    def warm_loss(self, feats: Tensor, centres: Tensor, sample: OccDataSample) -> dict[str, Tensor]:
        """The shader's own loss on detached renders: nothing but the shader learns from it."""
        shader, _ = self.shares()
        if not shader:
            return {}
        with torch.no_grad():
            (rendered,), _ = self._project(feats, [feats], centres, self.cameras(sample))
        labels, confidence = self._targets(sample)
        log_probs = self.shader(rendered).float().log_softmax(1)
        cost = soft_cross_entropy_2d(log_probs, labels, confidence, self.beta)
        return {"loss_warm_shader": shader * cost}

    def _targets(self, sample: OccDataSample) -> tuple[Tensor, Tensor]:
        """What Eq. 5 takes of the pseudo-labels: classes and weights, each ``(N, h, w)``."""
        confidence = self._at_lattice("img_confidence", sample)
        weight = confidence.float() / 255.0 if self.confidence else (confidence > 0).float()
        return self.classes.index_of_2d(self._at_lattice("img_semantics", sample)), weight

    def _at_lattice(self, name: str, sample: OccDataSample) -> Tensor:
        maps = sample.get(name)
        expected = self.lattice(sample).size(sample.raw_size)
        if maps is None or maps.shape[1:] != expected:
            found = "missing" if maps is None else f"of {tuple(maps.shape[1:])} pixels"
            raise ValueError(
                f"{name} is {found}, expected the {expected} that are rendered: the pipeline needs "
                f"LoadPseudoLabels and SampleLattice(render_stride={self.render_stride})"
            )
        return maps

    def lattice(self, sample: OccDataSample) -> RenderLattice:
        """The raw pixels that are rendered: where the 2D labels were read.

        Raises:
            ValueError: they were read at another stride.
        """
        lattice: RenderLattice = sample.get("lattice") or RenderLattice.central(self.render_stride)
        if lattice.stride != self.render_stride:
            raise ValueError(
                f"SampleLattice has render_stride {lattice.stride}, PulsarHead "
                f"{self.render_stride}: set both by the knob"
            )
        return lattice


def _normalised(tied: Tensor, coverage: Tensor) -> Tensor:
    """Rendered probabilities as shares of what covers a pixel."""
    return tied / coverage[:, None].clamp(min=1e-6)
