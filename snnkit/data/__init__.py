"""Data set loaders and spike encoders.

Loaders return a :class:`Split` of labelled recordings; an :class:`Encoder`, fitted on its training part,
turns recordings into rasters ``(batch, time, channels)`` of whole numbers of events.
"""

from .bundled import load_basic_motions, load_japanese_vowels
from .encoders import DeltaEncoding, Encoder, Encoding, FilterBankEncoding, GradedEncoding, fit_encoder
from .folder import FolderLayout, load_folder
from .recordings import RecordingSet, Split
from .tables import read_csv
from .wav import read_wav

__all__ = [
    "DeltaEncoding",
    "Encoder",
    "Encoding",
    "FilterBankEncoding",
    "FolderLayout",
    "GradedEncoding",
    "RecordingSet",
    "Split",
    "fit_encoder",
    "load_basic_motions",
    "load_folder",
    "load_japanese_vowels",
    "read_csv",
    "read_wav",
]
