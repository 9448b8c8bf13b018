"""Files as their authors published them, end to end where they are: read, embedded, stored, fitted, predicted."""

import warnings

import numpy as np
import pytest

from plurality.data.comparisons import Comparisons
from plurality.datasets import frames, load
from plurality.encoders import LsaSpec
from plurality.errors import InputWarning
from plurality.models.bradley_terry import BradleyTerry

# comparisons, users, rows left out
PUBLISHED = {
    "d3code": ({}, 65, 5, {"ratings of comments that were not understood": 6, "ties": 11}),
    "hh_rlhf": ({"split": "test"}, 2_307, 1, {"rows that end with the human": 1, "rows with a blank reply": 4}),
    "llmfao": ({}, 4_929, 124, {"pairs with a blank text": 1_208, "ties": 2_794}),
    "personal_reward_bench": ({}, 1, 1, {}),
    "polis": (
        {}, 2_881, 187,
        {"votes that the person changed later": 123, "passes": 592, "pairs of two agreed or two disagreed with": 3_453},
    ),
    "tldr": ({}, 1, 1, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_from_the_published_file_to_a_reward(name, real_data, tmp_path):
    options, comparisons, users, dropped = PUBLISHED[name]
    folder = real_data("raw") / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # parts that are not there, repeats, few texts
        made = frames(name, folder, **options)
        assert (made.collect().height, made.collect()["user_id"].n_unique(), made.dropped) == (
            comparisons,
            users,
            dropped,
        )
        data = load(name, folder, encoder=LsaSpec(dim=24, min_df=1), **options)
        data.save(tmp_path / "store")
        stored = Comparisons.load(tmp_path / "store")
        model = BradleyTerry(decay=1.0).fit(stored, seed=0)
    probability = model.prefer(stored)
    assert np.isfinite(probability).all()
    assert np.mean((probability > 0.5) == (stored.label > 0.5)) > 0.55


def test_no_role_speaks_twice_in_a_row(real_data):
    with pytest.warns(InputWarning, match="holds harmless-base but not helpful-base/test"):
        prompts = frames("hh_rlhf", real_data("raw") / "hh_rlhf", split="test").collect()["prompt"].to_list()
    for prompt in prompts:
        roles = [message["role"] for message in prompt]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
