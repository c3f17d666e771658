"""The MinkOcc network: encoders, fusion, generative U-Net, heads and losses."""

from minkocc.models.data_preprocessor import OccDataPreprocessor
from minkocc.models.hard_voxel_encoder import HardVoxelEncoder
from minkocc.models.image_encoder import ImageEncoder
from minkocc.models.mink_genunet import MinkGenUNet
from minkocc.models.minkocc import MinkOcc
from minkocc.models.point_fusion import PointFusion
from minkocc.models.pulsar_head import PulsarHead
from minkocc.models.semantic_head import SemanticHead
from minkocc.models.voxel_encoder import DynamicVoxelEncoder

__all__ = [
    "DynamicVoxelEncoder",
    "HardVoxelEncoder",
    "ImageEncoder",
    "MinkGenUNet",
    "MinkOcc",
    "OccDataPreprocessor",
    "PointFusion",
    "PulsarHead",
    "SemanticHead",
]
