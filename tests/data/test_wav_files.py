import struct
import wave

import numpy as np
import pytest

from snnkit.data import read_wav
from snnkit.utilities.errors import FileFormatError


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def layout(code, channels, rate, bits, extra=b""):
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits) + extra)


def write(path, content):
    path.write_bytes(content)
    return path


def pcm_bytes(values, bits):
    if bits == 8:
        return bytes(v + 128 for v in values)
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in values)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_width_keeps_sign_and_scale(tmp_path, bits):
    top = 2 ** (bits - 1)
    values = [0, 1, -1, top // 2, -top // 2, top - 1, -top]
    path = write(tmp_path / "a.wav", riff(layout(1, 1, 8000, bits), chunk(b"data", pcm_bytes(values, bits))))
    signal, rate = read_wav(path)
    assert rate == 8000.0
    assert signal.dtype == np.float32
    np.testing.assert_array_equal(signal[:, 0], (np.array(values, np.float64) / top).astype(np.float32))


def test_agrees_with_the_standard_library_on_stereo(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, (100, 2)).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 16000, 100, "NONE", ""))
        file.writeframes(samples.tobytes())
    signal, rate = read_wav(tmp_path / "a.wav")
    assert rate == 16000.0
    np.testing.assert_array_equal(signal, samples.astype(np.float32) / 32768)


def test_float_samples_are_taken_as_they_are(tmp_path):
    values = np.array([0.0, 0.5, -1.0, 1.5], "<f4")
    path = write(tmp_path / "a.wav", riff(layout(3, 1, 8000, 32), chunk(b"data", values.tobytes())))
    np.testing.assert_array_equal(read_wav(path)[0][:, 0], values)


def test_extensible_format_names_its_coding_in_the_guid(tmp_path):
    extra = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\0" * 14
    path = write(
        tmp_path / "a.wav", riff(layout(0xFFFE, 1, 8000, 16, extra), chunk(b"data", pcm_bytes([5, -5], 16)))
    )
    np.testing.assert_array_equal(read_wav(path)[0][:, 0], np.array([5, -5], np.float32) / 32768)


def test_odd_chunks_before_the_data_are_stepped_over(tmp_path):
    path = write(
        tmp_path / "a.wav",
        riff(chunk(b"LIST", b"odd"), layout(1, 1, 8000, 16), chunk(b"data", pcm_bytes([7], 16))),
    )
    assert read_wav(path)[0].shape == (1, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a WAV"),
        (b"RIFX\0\0\0\0WAVE", "not a WAV"),
        (riff(layout(1, 1, 8000, 16)), "no data chunk"),
        (riff(chunk(b"data", b"ab")), "no format chunk"),
        (riff(layout(1, 1, 8000, 16), chunk(b"data", b"")), "no samples"),
        (riff(layout(1, 1, 8000, 16), chunk(b"data", b"abc")), "whole blocks"),
        (riff(layout(2, 1, 8000, 4), chunk(b"data", b"ab")), "coding 2"),
        (riff(layout(1, 1, 8000, 12), chunk(b"data", b"ab")), "12 bits"),
        (riff(chunk(b"fmt ", b"abc"), chunk(b"data", b"ab")), "damaged format"),
        (riff(layout(3, 1, 8000, 32), chunk(b"data", struct.pack("<f", float("nan")))), "not finite"),
        (riff(layout(1, 1, 8000, 16), chunk(b"data", b"abcd"))[:-2], "cut short"),
    ],
)
def test_damage_is_named(tmp_path, content, words):
    path = write(tmp_path / "bad.wav", content)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_wav(path)
    assert "bad.wav" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileFormatError, match="nowhere"):
        read_wav(tmp_path / "nowhere.wav")
