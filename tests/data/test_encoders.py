import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnkit.data import (
    DeltaEncoding,
    Encoder,
    FilterBankEncoding,
    GradedEncoding,
    RecordingSet,
    fit_encoder,
)
from snnkit.data.features import mel_energies, resample, slopes
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, DataError, FileFormatError, ShapeError

IMU = get_chip("imu")


def recordings(*signals, rate=None):
    count = len(signals)
    return RecordingSet(signals, np.zeros(count, int), ("only",), tuple(map(str, range(count))), rate)


def walks(count=6, steps=40, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return recordings(*(generator.normal(size=(steps + 5 * i, channels)).cumsum(0) for i in range(count)))


ENCODINGS = [
    GradedEncoding(steps=20),
    GradedEncoding(steps=20, signed=True, compress=True),
    GradedEncoding(steps=30, slope_channels=2),
    DeltaEncoding(steps=25),
]


@pytest.mark.parametrize("config", ENCODINGS, ids=str)
def test_rasters_are_events_that_the_chip_takes(config):
    encoder = fit_encoder(config, walks(), IMU)
    wild = recordings(*(1e6 * s for s in walks(seed=1).signals))
    for part in (walks(seed=2), wild):
        raster = encoder.encode(part)
        assert raster.dtype == np.uint8
        assert raster.shape == (len(part), config.steps, encoder.channels)
        assert raster.max() <= IMU.input_event_cap
    assert encoder.channels <= IMU.max_inputs


@pytest.mark.parametrize("config", ENCODINGS, ids=str)
def test_normalisation_is_fitted_on_training_recordings_only(config):
    training = walks()
    encoder = fit_encoder(config, training, IMU)
    alone = encoder.encode(training.subset([0]))
    np.testing.assert_array_equal(alone[0], encoder.encode(training)[0])
    shifted = recordings(*(s + 1000.0 for s in training.signals))
    assert not np.array_equal(encoder.encode(shifted), fit_encoder(config, shifted, IMU).encode(shifted)) or (
        isinstance(config, DeltaEncoding)
    )


def test_graded_events_follow_the_value():
    ramp = np.linspace(0.0, 1.0, 98)[:, None]
    encoder = fit_encoder(
        GradedEncoding(steps=98, low_percentile=0, high_percentile=100), recordings(ramp), IMU
    )
    np.testing.assert_array_equal(encoder.encode(recordings(ramp))[0, :, 0], np.rint(15 * ramp[:, 0]))


def test_signed_events_separate_up_and_down():
    wave = np.sin(np.linspace(0, 2 * np.pi, 101))[:, None]
    config = GradedEncoding(steps=101, signed=True, low_percentile=0, high_percentile=100)
    up, down = fit_encoder(config, recordings(wave), IMU).encode(recordings(wave))[0].T.astype(int)
    assert not (up * down).any()
    np.testing.assert_array_equal(up - down, np.rint(15 * wave[:, 0]))


def test_compression_gives_small_movements_more_events():
    generator = np.random.default_rng(0)
    quiet, loud = generator.normal(size=(200, 1)), 50 * generator.normal(size=(40, 1))
    training = recordings(np.concatenate([quiet, loud]))
    plain, compressed = (
        fit_encoder(GradedEncoding(steps=240, signed=True, compress=c), training, IMU).encode(training)
        for c in (False, True)
    )
    assert compressed[0, :200].mean() > 5 * plain[0, :200].mean()


def test_delta_events_add_up_to_the_change():
    signal = np.cumsum(np.random.default_rng(1).normal(size=(60, 2)), axis=0)
    config = DeltaEncoding(steps=60, threshold=0.1, low_percentile=0, high_percentile=100)
    encoder = fit_encoder(config, recordings(signal), IMU)
    events = encoder.encode(recordings(signal))[0].astype(float)
    position = (signal - signal[0]) / (signal.max(0) - signal.min(0)) / 0.1
    rebuilt = np.cumsum(events[:, :2] - events[:, 2:], axis=0)
    assert np.abs(rebuilt - position).max() < 1.0 + 1e-4


def test_a_constant_signal_makes_no_delta_events():
    encoder = fit_encoder(DeltaEncoding(steps=10), walks(), IMU)
    assert not encoder.encode(recordings(np.full((10, 3), 7.0))).any()


@given(st.integers(1, 60), st.integers(2, 80))
def test_resampling_keeps_the_ends_and_straight_lines(length, steps):
    line = np.stack([np.arange(length), 3.0 - 2.0 * np.arange(length)], axis=1)
    stretched = resample(line, steps)
    expected = np.linspace(0, length - 1, steps)
    np.testing.assert_allclose(stretched, np.stack([expected, 3.0 - 2.0 * expected], axis=1), atol=1e-9)


def test_slopes_of_a_line_are_its_slope_inside():
    line = 0.5 * np.arange(20.0)[:, None]
    np.testing.assert_allclose(slopes(line, 2)[2:-2], 0.5)


@pytest.mark.parametrize("tone", [300.0, 1000.0, 2500.0])
def test_a_tone_is_loudest_in_its_band(tone):
    time = np.arange(8000) / 8000.0
    level = mel_energies(
        np.sin(2 * np.pi * tone * time)[:, None], 8000.0, bands=16, low=100, high=4000, frame=0.025, hop=0.01
    )
    edges = 700 * (
        10 ** (np.linspace(*(2595 * np.log10(1 + f / 700) for f in (100.0, 4000.0)), 18) / 2595) - 1
    )
    band = int(level.mean(0).argmax())
    assert edges[band] < tone < edges[band + 2]


def test_loudness_does_not_matter_to_the_filter_bank():
    sound = np.random.default_rng(0).normal(size=(4000, 1)) * 0.1
    config = FilterBankEncoding(steps=30)
    training = recordings(sound, np.cumsum(sound, axis=0) * 0.05, rate=8000.0)
    encoder = fit_encoder(config, training, get_chip("a3"))
    quiet = recordings(sound * 0.25, rate=8000.0)
    np.testing.assert_allclose(encoder.levels(quiet)[0], encoder.levels(training)[0], atol=1e-3)


def test_silence_around_a_sound_is_trimmed():
    generator = np.random.default_rng(0)
    sound = generator.normal(size=(3000, 1)) * 0.3
    padded = np.concatenate([np.full((4000, 1), 1e-5), sound, np.full((2000, 1), 1e-5)])
    loud = {}
    for trim in (0.0, 30.0):
        config = FilterBankEncoding(steps=20, trim_db=trim)
        encoder = fit_encoder(config, recordings(sound, padded, rate=8000.0), get_chip("a3"))
        loud[trim] = (encoder.levels(recordings(padded, rate=8000.0))[0].mean(axis=1) > 5.0).mean()
    assert loud[0.0] < 0.5
    assert loud[30.0] > 0.85


def test_the_fitted_state_survives_a_checkpoint():
    encoder = fit_encoder(ENCODINGS[1], walks(), IMU)
    again = Encoder.from_arrays(ENCODINGS[1], encoder.arrays(), IMU)
    np.testing.assert_array_equal(again.encode(walks(seed=5)), encoder.encode(walks(seed=5)))
    with pytest.raises(FileFormatError, match="lacks high"):
        Encoder.from_arrays(ENCODINGS[1], {k: v for k, v in encoder.arrays().items() if k != "high"}, IMU)


def test_too_many_channels_for_the_chip_are_refused():
    with pytest.raises(ConfigurationError, match=r"makes 18 channels; Xylo-IMU \(imu\) has 16"):
        fit_encoder(GradedEncoding(steps=20, signed=True), walks(channels=9), IMU)


def test_a_constant_channel_is_named():
    dead = recordings(*(np.concatenate([s, np.ones((len(s), 1))], axis=1) for s in walks().signals))
    with pytest.raises(DataError, match="Feature 3 is constant"):
        fit_encoder(GradedEncoding(steps=20), dead, IMU)


def test_another_number_of_channels_is_refused():
    encoder = fit_encoder(GradedEncoding(steps=20), walks(), IMU)
    with pytest.raises(ShapeError, match="3 features, not 2"):
        encoder.encode(walks(channels=2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GradedEncoding(steps=1, low_percentile=99, high_percentile=1), "steps is 1.*percentiles 99"),
        (lambda: GradedEncoding(steps=9, slope_channels=-1), "slope_channels"),
        (lambda: DeltaEncoding(steps=9, threshold=0), "threshold is 0"),
        (lambda: FilterBankEncoding(steps=9, bands=0, low_hz=500, high_hz=400), "bands is 0.*500 to 400"),
        (lambda: FilterBankEncoding(steps=9, frame_seconds=0, floor_db=0), "frame_seconds.*floor_db"),
    ],
)
def test_impossible_encodings_list_their_faults(make, words):
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_the_filter_bank_refuses_what_it_cannot_hear():
    sound = np.random.default_rng(0).normal(size=(2000, 1))
    a3, config = get_chip("a3"), FilterBankEncoding(steps=20)
    with pytest.raises(DataError, match="needs a sample rate"):
        fit_encoder(config, recordings(sound), a3)
    with pytest.raises(DataError, match="holds nothing above 2000 Hz"):
        fit_encoder(config, recordings(sound, rate=4000.0), a3)
    with pytest.raises(DataError, match="one channel of sound, not 2"):
        fit_encoder(config, recordings(np.tile(sound, 2), rate=8000.0), a3)


@pytest.mark.parametrize(
    ("signals", "labels", "words"),
    [
        ([np.zeros((3, 1)), np.zeros((3, 2))], [0, 0], "same number of channels"),
        ([np.full((3, 1), np.nan)], [0], "not finite"),
        ([np.zeros((0, 1))], [0], r"shape \(time, channels\)"),
        ([np.zeros((3, 1))], [4], "outside"),
        ([np.zeros((3, 1))], [0, 0], "need 1 labels"),
    ],
)
def test_recordings_that_cannot_be_used_are_refused(signals, labels, words):
    with pytest.raises(DataError, match=words):
        RecordingSet(tuple(signals), np.array(labels), ("only",), tuple(map(str, range(len(signals)))))
