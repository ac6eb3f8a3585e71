"""Ready networks."""

from snnkit.nn.networks.synnet import SynNet
from snnkit.nn.networks.wavesense import WaveSenseBlock, WaveSenseNet

__all__ = ["SynNet", "WaveSenseBlock", "WaveSenseNet"]
