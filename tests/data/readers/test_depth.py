"""A row that is nested deeper than parsers bear is named, and does not end the process."""

import gzip
import json
import subprocess
import sys

import pytest

from plurality.data.readers.tables import open_frame
from plurality.errors import InputError


def deep(n, inner="1"):
    return "[" * n + inner + "]" * n


@pytest.mark.parametrize("n", [101, 900, 100_000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_deep_row_is_named(tmp_path, n, packed):
    path = tmp_path / ("deep.jsonl.gz" if packed else "deep.jsonl")
    content = f'{{"user_id": "a", "x": 1}}\n\n{{"user_id": "b", "x": {deep(n)}}}\n'.encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=r"row 2: lists or objects are nested more than 100 deep"):
        open_frame(path, "comparisons")


def test_the_command_survives_it(tmp_path):
    path = tmp_path / "deep.jsonl"
    path.write_text(f'{{"user_id": "b", "x": {deep(900)}}}\n')
    command = [sys.executable, "-m", "plurality", "embed", str(path), "--out", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_brackets_in_texts_are_no_depth(tmp_path):
    path = tmp_path / "flat.jsonl"
    texts = ["[{" * 500, '\\"[' * 300, "x" + "\\" * 3 + '"' + "[" * 200]
    path.write_text("\n".join(json.dumps({"user_id": "a", "x": text, "y": [[1]]}) for text in texts))
    assert open_frame(path, "comparisons")[0]["x"].to_list() == texts
