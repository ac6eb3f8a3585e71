"""Images for experiments: splits that never mix, and files that are read without being trusted."""

import gzip
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
import torch

from snnkit.experiments.data import (
    load_cifar10,
    load_cifar100,
    load_digits,
    load_images,
    load_mnist,
    random_images,
)
from snnkit.experiments.data.images import hold_out
from snnkit.experiments.data.mnist import read_idx
from snnkit.experiments.data.unpickling import read_pickled_table
from snnkit.utilities.errors import ConfigurationError, DataError, FileFormatError


def test_digits_are_all_there_once():
    split = load_digits()
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [1077, 360, 360]
    from sklearn.datasets import load_digits as load

    images = torch.cat([part.images for part in parts]).flatten(1)
    ours, theirs = (np.unique(np.round(x, 4), axis=0) for x in (images.numpy(), load().data))
    assert ours.shape == theirs.shape  # As many different images, so none was lost or doubled.
    for part in parts[1:]:
        counts = torch.bincount(part.labels, minlength=10)
        assert counts.min() >= 33
        assert counts.max() <= 39
    assert abs(float(split.train.images.mean())) < 1e-5
    assert abs(float(split.train.images.std()) - 1) < 1e-3


def test_fewer_training_images_leave_the_other_parts_alone():
    whole, part = load_images("digits"), load_images("digits", train=100)
    assert len(part.train) == 100
    assert torch.equal(part.test.images, whole.test.images)
    assert torch.equal(part.train.labels, whole.train.labels[:100])
    with pytest.raises(DataError, match="1077 training images, not 2000"):
        load_images("digits", train=2000)


def test_random_images_repeat():
    first, second = random_images((1, 4, 4), train=10), random_images((1, 4, 4), train=10)
    assert torch.equal(first.train.images, second.train.images)
    assert first.shape == (1, 4, 4)
    assert not torch.equal(first.train.images[:5], first.test.images[:5])


def test_holding_out_keeps_the_classes_in_proportion():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept, held = hold_out(labels, 20, seed=3)
    assert sorted([*kept, *held]) == list(range(100))
    assert np.bincount(labels[held]).tolist() == [12, 6, 2]
    with pytest.raises(DataError, match="cannot be held out"):
        hold_out(labels, 100, seed=3)


def test_unknown_sets_and_missing_folders_are_told():
    with pytest.raises(ConfigurationError, match="'cifar10"):
        load_images("cifar11")
    with pytest.raises(ConfigurationError, match="--data DIR"):
        load_images("cifar10")


# CIFAR


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def python_2_pickle(table):
    """Write a table of byte arrays and lists as Python 2 did, which made the archives."""

    def text(content):
        return b"T" + struct.pack("<i", len(content)) + content

    def number(value):
        return b"J" + struct.pack("<i", value)

    def array(value):
        made = (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
            + number(0)
            + b"t"
            + text(b"b")
            + b"tR"
        )
        kind = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR"
        kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        shape = b"(" + b"".join(number(n) for n in value.shape) + b"t"
        return made + b"(" + number(1) + shape + kind + b"I00\n" + text(value.tobytes()) + b"tb"

    def entry(value):
        if isinstance(value, np.ndarray):
            return array(value)
        return b"(" + b"".join(number(v) for v in value) + b"l"

    return b"\x80\x02}(" + b"".join(text(k) + entry(v) for k, v in table.items()) + b"u."


def write_cifar10(folder, dump):
    folder.mkdir(parents=True)
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        table = {b"data": pixels(20, index), b"labels": [i % 10 for i in range(20)]}
        (folder / name).write_bytes(dump(table))
    return folder


@pytest.mark.parametrize("dump", [python_2_pickle, lambda table: pickle.dumps(table, protocol=3)])
def test_cifar_pickles_of_both_pythons_are_read(tmp_path, dump):
    write_cifar10(tmp_path / "cifar-10-batches-py", dump)
    split = load_cifar10(tmp_path)
    assert split.shape == (3, 32, 32)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [90, 10, 20]
    mean = split.train.images.mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    expected = torch.tensor(pixels(20, 5).reshape(20, 3, 32, 32) / 255.0, dtype=torch.float32)
    correlation = torch.corrcoef(torch.stack([expected[:, 0].flatten(), split.test.images[:, 0].flatten()]))
    assert correlation[0, 1] > 1 - 1e-5


def test_binary_and_pickled_cifar_are_the_same(tmp_path):
    write_cifar10(tmp_path / "py" / "cifar-10-batches-py", python_2_pickle)
    folder = tmp_path / "bin" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for index, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        labels = np.array([i % 10 for i in range(20)], dtype=np.uint8)
        (folder / name).write_bytes(np.column_stack([labels, pixels(20, index)]).tobytes())
    one, other = load_cifar10(tmp_path / "py"), load_cifar10(folder)
    assert torch.equal(one.train.images, other.train.images)
    assert torch.equal(one.validation.labels, other.validation.labels)


def test_cifar100_has_its_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name, count in (("train.bin", 200), ("test.bin", 100)):
        rows = [np.full(count, 7, np.uint8), np.arange(count, dtype=np.uint8) % 100, pixels(count)]
        (folder / name).write_bytes(np.column_stack(rows).tobytes())
    split = load_cifar100(tmp_path)
    assert split.classes == 100
    assert sorted(split.test.labels.tolist()) == list(range(100))


class Command:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_that_calls_something_is_refused_and_calls_nothing(tmp_path):
    file = tmp_path / "data_batch_1"
    for value in (Command(tmp_path / "made"), {b"data": Command(tmp_path / "made")}):
        file.write_bytes(pickle.dumps(value))
        with pytest.raises(FileFormatError, match=r"asks for \w+\.open"):
            read_pickled_table(file)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.array(["a"])}, protocol=3),
        pickle.dumps({b"data": np.ones(3)}, protocol=3),
        pickle.dumps({b"data": np.float64(1.0)}, protocol=3),
        python_2_pickle({b"data": pixels(1)})[:-100],
    ],
)
def test_damaged_and_foreign_pickles_are_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileFormatError):
        read_pickled_table(tmp_path / "file")


def test_a_pickle_cannot_ask_for_memory_that_it_does_not_fill(tmp_path):
    # PUT at place 4,294,967,294: a list of that length would take 64 GB.
    (tmp_path / "file").write_bytes(b"\x80\x02}r\xfe\xff\xff\xff.")
    tracemalloc.start()
    try:
        assert read_pickled_table(tmp_path / "file") == {}
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_array_whose_size_lies_is_refused(tmp_path):
    good = python_2_pickle({b"data": pixels(2)})
    (tmp_path / "file").write_bytes(
        good.replace(b"J" + struct.pack("<i", 3072), b"J" + struct.pack("<i", 9999))
    )
    with pytest.raises(FileFormatError, match="of its own size"):
        read_pickled_table(tmp_path / "file")


def test_incomplete_and_wrong_archives_are_told(tmp_path):
    with pytest.raises(DataError, match="cifar-10-batches-py"):
        load_cifar10(tmp_path)
    folder = write_cifar10(tmp_path / "cifar-10-batches-py", python_2_pickle)
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        load_cifar10(tmp_path)
    (folder / "data_batch_3").write_bytes(python_2_pickle({b"data": pixels(2), b"labels": [3, 12]}))
    with pytest.raises(FileFormatError, match="outside 0 to 9"):
        load_cifar10(tmp_path)


# MNIST


def idx(array):
    return (
        struct.pack(">BBBB", 0, 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_mnist(folder, packed):
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{name}-ubyte"
            if packed:
                (folder / f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))


def test_mnist_is_read_packed_and_unpacked(tmp_path):
    for name, packed in (("plain", False), ("packed", True)):
        (tmp_path / name).mkdir()
        write_mnist(tmp_path / name, packed)
    one, other = load_mnist(tmp_path / "plain"), load_images("mnist", tmp_path / "packed")
    assert one.shape == (1, 28, 28)
    assert [len(p) for p in (one.train, one.validation, one.test)] == [54, 6, 20]
    assert torch.equal(one.test.images, other.test.images)


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\1", b"\0\0\x08\1\0\0\0\x05abc", b"\0\0\x08\3\0\0"])
def test_damaged_idx_files_are_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileFormatError):
        read_idx(tmp_path / "file")
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(FileFormatError):
        read_idx(tmp_path / "file.gz")


def test_a_packed_file_is_unpacked_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("snnkit.experiments.data.mnist._MOST_BYTES", 2**16)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(2**22)))
    with pytest.raises(FileFormatError, match="holds more than 65536 bytes"):
        read_idx(tmp_path / "bomb.gz")


def test_missing_mnist_files_are_told(tmp_path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load_mnist(tmp_path)
