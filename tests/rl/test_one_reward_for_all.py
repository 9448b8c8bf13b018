"""A model without codes has one reward for everybody, so that whom it knows is nobody's concern."""

import polars as pl
import pytest

from plurality.errors import InputError
from plurality.models import BradleyTerry
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel
from plurality.rl.best_of_n import best_of_n
from plurality.rl.reward_function import RewardFunction


@pytest.fixture
def alike(lsa):
    """u = ⟨1, x⟩ for all."""
    import numpy as np
    import torch

    head = BradleyTerry().head(lsa.dim, torch.Generator()).requires_grad_(False).eval()
    for weight in head.parameters():
        weight.fill_(1.0)
    none, empty = torch.zeros(1, 0, dtype=torch.float64), torch.zeros(1, 0, 0, dtype=torch.float64)
    return RewardModel(
        spec=BradleyTerry(),
        head=head,
        user_ids=("ann",),
        posterior=Posterior(none, empty),
        prior=Prior(none[0], empty[0]),
        n_comparisons=np.ones(1, dtype=np.int64),
        trace=Trace([]),
        encoder=lsa,
    )


def test_new_users_need_no_permission(alike, lsa, command, tmp_path):
    x = lsa.encode([""] * 2, ["red", "blue"])
    known = alike.score(x, [0, 1], ["ann", "ann"])
    assert alike.score(x, [0, 1], ["new", "newer"]).tolist() == known.tolist()
    assert alike.utility(x, ["new"]).tolist() == alike.utility(x).tolist()
    found = RewardFunction(alike, unknown="error")(["q"] * 2, ["red", "blue"], user_id=["new", "ann"])
    assert found == pytest.approx(known.tolist())
    assert best_of_n(alike, ["q"], [["red", "blue"]], ["new"]).index == known.argmax()
    people = pl.DataFrame({"user_id": ["new", "ann"]})
    assert RewardFunction(alike, rule="mean", population=people, unknown="error")(["q"], ["red"]) == pytest.approx(
        known[:1].tolist()
    )
    alike.save_pretrained(tmp_path / "reward")
    rows = pl.DataFrame({"user_id": ["new"], "prompt": ["q"], "completion": ["red"]})
    rows.write_parquet(tmp_path / "rows.parquet")
    done = command("score", tmp_path / "reward", tmp_path / "rows.parquet", "--out", tmp_path / "scored.parquet")
    assert (done.code, done.err) == (0, "")


def test_a_model_with_codes_still_asks(model, lsa):
    with pytest.raises(InputError, match="not known to this model"):
        model.codes(["new"])
