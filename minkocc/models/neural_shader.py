"""NS of the paper's Eq. 3: a small convolutional U-Net from rendered features to 2D classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _ConvBlock(nn.Sequential):
    """Two 3x3 convolutions with group norm (views are few, so no batch statistics) and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
        )


class NeuralShader(nn.Module):
    """Three scales, concatenated skips, any image size.

    Args:
        in_channels: of the rendered feature.
        num_classes: of the output.
        channels: width at full, half and quarter resolution; multiples of 4.
    """

    def __init__(
        self, in_channels: int, num_classes: int, channels: tuple[int, int, int] = (32, 48, 64)
    ) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.enc1 = _ConvBlock(in_channels, fine)
        self.enc2 = _ConvBlock(fine, middle, stride=2)
        self.enc3 = _ConvBlock(middle, coarse, stride=2)
        self.dec2 = _ConvBlock(coarse + middle, middle)
        self.dec1 = _ConvBlock(middle + fine, fine)
        self.classify = nn.Conv2d(fine, num_classes, 1)

    def forward(self, rendered: Tensor) -> Tensor:
        """Logits ``(N, num_classes, h, w)`` of a rendered feature ``(N, C, h, w)``."""
        x1 = self.enc1(rendered)
        x2 = self.enc2(x1)
        x3 = self.enc3(x2)
        y2 = self.dec2(torch.cat([_resize_like(x3, x2), x2], dim=1))
        y1 = self.dec1(torch.cat([_resize_like(y2, x1), x1], dim=1))
        return self.classify(y1)


def _resize_like(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
