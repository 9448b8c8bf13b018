"""Annotated pairs: planted flips are found as surely as is said, and what is written is what `read` and TRL take."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

import plurality as pl8
from plurality.datasets.simulated.populations import Population
from plurality.errors import InputError, InputWarning
from plurality.models import LCPO, MORE, BradleyTerry
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel

TASTE = np.array([2, -1.5, 1, 0.5, -2])
FLIPS = 0.2


@pytest.fixture(scope="module")
def world():
    """20 users with one taste and gaps of sd 3.7, a fifth of whose labels were flipped: the rows that were not."""
    theta = np.tile(TASTE / np.linalg.norm(TASTE) * 3.7 / np.sqrt(2), (20, 1))
    people = Population(lambda x, t: (x * t).sum(1), theta, np.zeros(20, dtype=np.int64), np.zeros(20), 5)
    sample = people.sample(200, seed=1)
    right = np.random.default_rng(0).random(len(sample.data)) >= FLIPS
    label = np.where(right, sample.data.label, 1 - sample.data.label)
    return replace(sample.data, label=label), right, sample.gap


@pytest.fixture(scope="module")
def known(world):
    """A flip mixture at the true scale: nothing is fitted."""
    data, _, _ = world
    spec = LCPO(reliability="global")
    head = spec.head(5, torch.Generator()).requires_grad_(False).eval()
    theta = TASTE / np.linalg.norm(TASTE) * 3.7 / np.sqrt(2)
    head.projector.linear.copy_(torch.as_tensor(theta[None] * 5**0.5))
    head.log_odds_right.fill_(float(logit(1 - FLIPS)))
    prior = Prior.isotropic(0, 1.0)
    return RewardModel(
        spec=spec,
        head=head,
        user_ids=tuple(data.user_ids),
        posterior=Posterior.of_prior(prior, 20),
        prior=prior,
        n_comparisons=np.full(20, 200),
        trace=Trace(),
    )


def calibration_gap(p, right):
    """Largest difference of the mean of p and the share that is right, over five bins of as many rows."""
    return max(abs(p[rows].mean() - right[rows].mean()) for rows in np.array_split(np.argsort(p), 5))


def test_planted_flips_are_found_as_surely_as_is_said(world, known):
    data, right, gap = world
    made = pl8.annotate(known, data)
    p = made["prob_right"].to_numpy()
    assert roc_auc_score(right, p) > 0.9
    assert calibration_gap(p, right) < 0.05
    assert p.mean() == pytest.approx(right.mean(), abs=0.02)
    seen = np.where(data.label > 0.5, gap, -gap)
    np.testing.assert_allclose(p, expit(seen + logit(0.8)), atol=1e-5)  # eq. 4 of RE-PO by hand
    np.testing.assert_allclose(made["margin"], seen, atol=1e-4)
    np.testing.assert_allclose(made["prob_chosen"], expit(seen), atol=1e-5)


def test_the_relabelled_copy_is_right_more_often(world, known):
    data, right, _ = world
    made = pl8.annotate(known, data, relabel=True)
    changed = made["relabelled"].to_numpy()
    assert (right != changed).mean() > right.mean() + 0.08
    assert made["prob_right"].min() >= 0.5
    given = pl8.annotate(known, data)
    assert (made["chosen"].to_numpy() == np.where(changed, given["rejected"], given["chosen"])).all()
    np.testing.assert_allclose(made["margin"], np.where(changed, -1, 1) * given["margin"].to_numpy())


@pytest.mark.slow
def test_so_does_a_fitted_reward(world):
    data, right, _ = world
    model = LCPO(decay=0.2, eta_starts=(0.75,)).fit(data, diagnostics=False)
    p = pl8.annotate(model, data)["prob_right"].to_numpy()
    assert roc_auc_score(right, p) > 0.9
    assert calibration_gap(p, right) < 0.05
    changed = pl8.annotate(model, data, relabel=True)["relabelled"].to_numpy()
    assert (right != changed).mean() > right.mean() + 0.08


def test_exchanged_sides_and_order_of_rows_change_nothing(world, known):
    data = world[0].take(np.arange(300))
    made = pl8.annotate(known, data, relabel=True)
    assert_frame_equal(pl8.annotate(known, data.swapped(), relabel=True), made)
    back = pl8.annotate(known, data.take(np.arange(300)[::-1]), relabel=True)
    assert_frame_equal(back[::-1], made)


def test_soft_labels_and_ties(world, known):
    data, _, gap = world
    label = np.where(np.arange(len(data)) % 3 == 0, 0.5, np.where(data.label > 0.5, 0.9, 0.1))
    made = pl8.annotate(known, replace(data, label=label), relabel=True)
    tie = label == 0.5
    assert made["prob_right"].is_null().to_numpy().tolist() == tie.tolist()
    assert not made["relabelled"].to_numpy()[tie].any()
    assert set(made["label"].unique()) == {0.5, 0.9}
    first = label * expit(gap + logit(0.8)) + (1 - label) * expit(gap - logit(0.8))
    np.testing.assert_allclose(made["prob_right"].to_numpy()[~tie], np.maximum(first, 1 - first)[~tie], atol=1e-5)


def test_a_family_without_flips_gives_none(world):
    data = world[0]
    model = BradleyTerry(decay=1.0).fit(data)
    made = pl8.annotate(model, data)
    assert made["prob_right"].null_count() == len(data)
    chosen = np.where(data.label > 0.5, model.prefer(data), 1 - model.prefer(data))
    np.testing.assert_allclose(made["prob_chosen"], chosen)
    with pytest.raises(InputError, match=r"bradley_terry takes every label to be right.*fit lcpo"):
        pl8.annotate(model, data, relabel=True)


def test_a_reward_that_knows_no_scale_is_said_to(world, known):
    with pytest.warns(InputWarning, match="cannot be told from weak tastes"):
        pl8.annotate(replace(known, report={"identified": False}), world[0])


def test_reliabilities_are_those_of_the_unit(world, known):
    """Two groups, one always right, one that tosses a coin: what labels of the latter say is what was known before."""
    data = world[0]
    users = data.users.with_columns(group=pl.Series(["sure", "coin"] * 10))
    spec = LCPO(unit="group")
    head = spec.head(5, torch.Generator()).requires_grad_(False).eval()
    head.projector.linear.copy_(known.head.projector.linear)
    posterior = Posterior(torch.tensor([[0.0], [8.0]]).double(), torch.full((2, 1, 1), 1e-12).double())
    prior = Prior.isotropic(1, 1.0)
    model = replace(known, spec=spec, head=head, user_ids=("coin", "sure"), posterior=posterior, prior=prior)
    made = pl8.annotate(model, replace(data, users=users))
    coin = data.user % 2 == 1
    p, margin = made["prob_right"].to_numpy(), made["margin"].to_numpy()
    np.testing.assert_allclose(p[coin], expit(margin[coin]), atol=1e-5)
    np.testing.assert_allclose(p[~coin], expit(margin[~coin] + 8), atol=1e-5)


def test_margins_of_other_objectives_leave_one_out():
    """Each objective's own part is v_k Δr_k: a gap less the others' margin, and all own parts are the gap."""
    rng = np.random.default_rng(3)
    rows = {"user_id": rng.choice(["ann", "bo", "cy"], 240), "objective": ["kind", "true"] * 120}
    rows |= {"chosen": np.arange(240), "rejected": np.arange(240, 480)}
    data = pl8.read(rows, embeddings=rng.standard_normal((480, 3)))
    model = MORE(source="objective", steps=20, decay=1.0, multi_head=True).fit(data)
    made = pl8.annotate(model, data)
    gap = np.where(data.label > 0.5, 1, -1) * model.gap(data)
    others = made.select("margin_others_kind", "margin_others_true").to_numpy()
    np.testing.assert_allclose((gap[:, None] - others).sum(1), gap, atol=1e-4)
    code = model.users.select("objective_0", "objective_1").to_numpy()[data.user]
    reward = model.features(data.items).double().numpy()
    first = code * (reward[data.first] - reward[data.second]) * np.where(data.label > 0.5, 1, -1)[:, None]
    np.testing.assert_allclose(gap[:, None] - others, first, atol=1e-4)
    assert made["objective"].to_list() == list(rows["objective"])


@pytest.mark.parametrize("chat", [False, True])
def test_texts_come_back_from_read(letters, tmp_path, chat):
    """Sides, weights, groups, objectives, base scores and other columns survive; so does a second annotation."""
    said = [("Tea?", "green tea", "no"), ("Tea?", "black", "white"), ("Why?", "because", "so it is")] * 4
    prompts, better, worse = (list(column) for column in zip(*said, strict=True))
    frame = {"prompt": prompts, "chosen": better, "rejected": worse}
    if chat:
        frame = {
            "prompt": [[{"role": "user", "content": text}] for text in prompts],
            "chosen": [[{"role": "assistant", "content": text}] for text in better],
            "rejected": [[{"role": "assistant", "content": text}] for text in worse],
        }
    frame = pl.DataFrame(
        frame
        | {
            "user_id": ["ada", "bo", "cy", "dee"] * 3,
            "label": [1.0, 1.0, 0.5, 0.75] * 3,
            "weight": [1.0, 2.0, 0.5] * 4,
            "group_id": ["g", "h"] * 6,
            "objective": ["kind", "true"] * 6,
            "score_chosen": [float(len(text)) for text in better],
            "score_rejected": [float(len(text)) for text in worse],
            "topic": ["drinks", "reasons"] * 6,
        }
    )
    data = pl8.read(frame, encoder=letters, repeats="keep")
    model = BradleyTerry(decay=1.0).fit(data)
    made = pl8.annotate(model, data)
    made.write_parquet(tmp_path / "annotated.parquet")
    again = pl8.read(tmp_path / "annotated.parquet", encoder=letters, repeats="keep")
    tie = frame["label"].to_numpy() == 0.5
    columns = ["prompt", "chosen", "rejected"]
    assert made.filter(~tie).select(columns).to_dicts() == frame.filter(~tie).select(columns).to_dicts()
    for name in ("label", "weight", "user", "first", "second", "base", "objective", "prompt"):
        np.testing.assert_allclose(getattr(again, name), getattr(data, name))
    for group in ("g", "h"):
        assert len(set(again.group[frame["group_id"].to_numpy() == group])) == 1
    assert again.attributes["topic"].to_list() == frame["topic"].to_list()
    assert_frame_equal(pl8.annotate(model, again).drop("group_id"), made.drop("group_id"), check_column_order=False)


def test_the_command_writes_both_files_and_fit_takes_them_again(world, known, command, tmp_path):
    data, right, _ = world
    rows = {
        "user_id": data.users["user_id"].gather(data.user),
        "chosen": np.where(data.label > 0.5, data.first, data.second),
        "rejected": np.where(data.label > 0.5, data.second, data.first),
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "pairs.parquet")
    np.save(tmp_path / "items.npy", data.items)
    known.save_pretrained(tmp_path / "reward")
    out, copy = tmp_path / "annotated.parquet", tmp_path / "relabelled.parquet"
    files = ["--embeddings", tmp_path / "items.npy", "--out", out, "--relabelled", copy]
    done = command("annotate", tmp_path / "pairs.parquet", "--reward", tmp_path / "reward", *files)
    assert done.code == 0, done.err
    assert re.search(r"4,000 pairs of 20 users.*\n.*relabelled", done.out)
    made, changed = pl.read_parquet(out), pl.read_parquet(copy)
    assert made["chosen"].to_list() == rows["chosen"].tolist()
    assert (right != changed["relabelled"].to_numpy()).mean() > right.mean() + 0.08
    store = tmp_path / "store"
    for file in (out, copy):
        again = command("embed", file, "--embeddings", tmp_path / "items.npy", "--out", store)
        assert again.code == 0, again.err
    assert command("fit", "bradley_terry", store, "--set", "decay=1", "--out", tmp_path / "new").code == 0
    for arguments, message in (
        (["--out", out, "--relabelled", out], "one file"),
        (["--out", tmp_path / "a.csv"], "ends in .parquet"),
    ):
        files = ["--embeddings", tmp_path / "items.npy"]
        done = command("annotate", tmp_path / "pairs.parquet", "--reward", tmp_path / "reward", *files, *arguments)
        assert done.code == 2
        assert message in done.err
