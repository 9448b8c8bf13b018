import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.encoders.pooling import batches, choose_device, pad, pool


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=np.int64)
    parts = list(batches(lengths, budget))
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * lengths[part].max() <= budget
    longest = [lengths[part].max() for part in parts]
    assert longest == sorted(longest, reverse=True)


def test_padding_is_on_the_right_and_masked():
    ids, mask = pad([[5, 6, 7], [8]], pad_id=3)
    assert ids.tolist() == [[5, 6, 7], [8, 3, 3]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_sees_real_tokens_only(side):
    rows = [torch.tensor([[1.0, 2], [3, 4], [5, 9]]), torch.tensor([[7.0, 8]])]
    hidden, mask = torch.full((2, 3, 2), torch.nan), torch.zeros(2, 3, dtype=torch.long)
    for row, states in enumerate(rows):
        where = slice(0, len(states)) if side == "right" else slice(3 - len(states), 3)
        hidden[row, where], mask[row, where] = states, 1
    assert pool(hidden, mask, "last").tolist() == [[5, 9], [7, 8]]
    assert pool(hidden, mask, "first").tolist() == [[1, 2], [7, 8]]
    assert pool(hidden, mask, "mean").tolist() == [[3, 5], [7, 8]]


def test_half_precision_is_pooled_in_single():
    # in bfloat16 the running sum would stop growing at 256
    hidden = torch.ones(1, 1000, 1, dtype=torch.bfloat16)
    pooled = pool(hidden, torch.ones(1, 1000, dtype=torch.long), "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == 1.0


def test_a_named_device_is_taken_as_it_is():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
