"""Where batches come from: one file per data set."""

from datamodules.base import DataModule, SegmentationDataModule
from datamodules.coco import COCO
from datamodules.samples import DataError
from datamodules.segmentation_folder import SegmentationFolder
from datamodules.shapes import Shapes
from datamodules.voc import VOC

__all__ = ["COCO", "VOC", "DataError", "DataModule", "SegmentationDataModule", "SegmentationFolder", "Shapes"]
