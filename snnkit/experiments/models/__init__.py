"""Image models as users write them: plain torch modules, with functional operations and reused modules."""

from .activations import ACTIVATIONS, activation
from .catalogue import MODELS, build_model, model_arguments, model_problems
from .densenet import DenseNet
from .mlp import MLP
from .mobilenet import MobileNet
from .resnet import ResNet, ResNeXt
from .unet import UNet
from .vgg import VGG
from .vit import ViT
from .wide_resnet import WideResNet

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "MODELS",
    "VGG",
    "DenseNet",
    "MobileNet",
    "ResNeXt",
    "ResNet",
    "UNet",
    "ViT",
    "WideResNet",
    "activation",
    "build_model",
    "model_arguments",
    "model_problems",
]
