import numpy as np
import pytest

from snnkit.data import read_csv
from snnkit.utilities.errors import FileFormatError


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("header", ["", "x{d}y\n"])
def test_rows_of_numbers_with_and_without_header(tmp_path, delimiter, header):
    path = tmp_path / "a.csv"
    path.write_text(header.replace("{d}", delimiter) + f"1{delimiter}2.5\n\n-3e-1{delimiter}4\n")
    np.testing.assert_array_equal(read_csv(path), np.array([[1, 2.5], [-0.3, 4]], np.float32))


def test_one_column_is_one_channel(tmp_path):
    (tmp_path / "a.csv").write_text("1\n2\n3\n")
    assert read_csv(tmp_path / "a.csv").shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("a,b\n", "no rows"),
        ("1,2\n3\n", "line 2: 1 values where the first row has 2"),
        ("1,2\n3,x\n", "line 2"),
        ("1,2\nnan,1\n", "line 2: a value is not finite"),
    ],
)
def test_faults_name_the_line(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_csv(tmp_path / "a.csv")
