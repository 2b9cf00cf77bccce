"""Where batches come from: one file per data set."""

from datamodules.base import DataModule, SegmentationDataModule
from datamodules.cifar import CIFAR10, CIFAR100
from datamodules.coco import COCO
from datamodules.cub200 import CUB200
from datamodules.flowers102 import Flowers102
from datamodules.food101 import Food101
from datamodules.image_folder import ImageFolder
from datamodules.imagenet import ImageNet, RestrictedImageNet
from datamodules.images import DataError
from datamodules.mnist import MNIST
from datamodules.photographs import Photographs
from datamodules.segmentation_folder import SegmentationFolder
from datamodules.shapes import Shapes
from datamodules.small_images import SmallImages
from datamodules.stanford_dogs import StanfordDogs
from datamodules.stl10 import STL10
from datamodules.svhn import SVHN
from datamodules.tiny_imagenet import TinyImageNet
from datamodules.usps import USPS
from datamodules.voc import VOC

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "COCO",
    "CUB200",
    "MNIST",
    "STL10",
    "SVHN",
    "USPS",
    "VOC",
    "DataError",
    "DataModule",
    "Flowers102",
    "Food101",
    "ImageFolder",
    "ImageNet",
    "Photographs",
    "RestrictedImageNet",
    "SegmentationDataModule",
    "SegmentationFolder",
    "Shapes",
    "SmallImages",
    "StanfordDogs",
    "TinyImageNet",
]
