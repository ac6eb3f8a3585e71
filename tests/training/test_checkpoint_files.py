import pytest
import torch

from snnkit.training.checkpoint import Checkpoint, joined
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import write_arrays


def test_everything_comes_back(tmp_path):
    tensors = joined(
        parameter={"0.weight": torch.randn(3, 4), "0.bias": torch.zeros(0)},
        random={"state": torch.get_rng_state()},
        moment={"step": torch.tensor(7)},
    )
    path = Checkpoint(tensors, {"stage": "qat", "history": [{"loss": 0.5}]}).save(tmp_path / "c.safetensors")
    again = Checkpoint.load(path)
    assert again.about == {"stage": "qat", "history": [{"loss": 0.5}]}
    assert again.tensors.keys() == tensors.keys()
    assert all(torch.equal(again.tensors[name], tensors[name]) for name in tensors)
    assert again.part("moment")["step"].dtype == torch.int64


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"format": "something else"}, "not a checkpoint"),
        ({"format": "snnkit checkpoint", "version": "99", "about": "{}"}, "version 99"),
        ({"format": "snnkit checkpoint", "version": "1", "about": "{"}, "damaged description"),
    ],
)
def test_other_files_are_refused(tmp_path, metadata, words):
    write_arrays(tmp_path / "c.safetensors", {}, metadata)
    with pytest.raises(FileFormatError, match=words):
        Checkpoint.load(tmp_path / "c.safetensors")


def test_a_cut_file_is_refused(tmp_path):
    path = Checkpoint({"a": torch.zeros(100)}).save(tmp_path / "c.safetensors")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError):
        Checkpoint.load(path)


def test_equal_content_gives_equal_bytes(tmp_path):
    tensors = {f"part.{i}": torch.full((i + 1,), float(i)) for i in range(5)}
    contents = {
        Checkpoint(dict(order), {"stage": "float"}).save(tmp_path / "c.safetensors").read_bytes()
        for order in (list(tensors.items()), list(tensors.items())[::-1])
        for _ in range(4)
    }
    assert len(contents) == 1
