"""Wide embeddings: tastes are found in the principal directions that carry them, and weights take embeddings whole."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from plurality.data.comparisons import Comparisons
from plurality.data.keys import mix, text_keys
from plurality.errors import InputWarning
from plurality.fitting import directions, inputs
from plurality.fitting.inputs import AS_THEY_COME, Sizes, scalings
from plurality.fitting.tuning import FitOptions
from plurality.models import BradleyTerry, LowRank
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.heads import PooledHead, Projector
from plurality.reward.inputs import Inputs
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import load

WIDTH, ITEMS, USERS, EACH = 1_024, 4_000, 300, 40


def world(power: float, huge: int = 0, seed: int = 0) -> tuple[Comparisons, float]:
    """Comparisons by people of two opposed tastes in the first 40 of WIDTH dimensions, whose sd falls like j^-power.

    `huge` dimensions say nothing, are 30 times as large as the largest, and far from 0. Beside it: how often the truth
    is right.
    """
    rng = np.random.default_rng(seed)
    sd = np.arange(1, WIDTH + 1) ** -power
    items = (rng.standard_normal((ITEMS, WIDTH)) * sd).astype(np.float32)
    theta = np.zeros((WIDTH, 2))
    theta[:40] = rng.standard_normal((40, 2)) / np.sqrt(2 * np.square(sd[:40]).sum())
    user = np.repeat(np.arange(USERS), EACH)
    first, second = rng.integers(0, ITEMS, len(user)), rng.integers(0, ITEMS, len(user))
    reward = items @ theta
    gap = (reward[first] - reward[second]) @ [1.0, 0.0]
    gap = gap + np.where(user % 2, 1, -1) * ((reward[first] - reward[second]) @ [0.0, 1.5])
    gap = 2 * gap / gap.std()
    label = (rng.random(len(user)) < 1 / (1 + np.exp(-gap))).astype(float)
    items[:, WIDTH - huge :] = 30 * rng.standard_normal((ITEMS, huge)) + 50
    keys = mix(np.arange(ITEMS))
    swap = keys[first] > keys[second]
    data = Comparisons(
        items=items, first=np.where(swap, second, first), second=np.where(swap, first, second), user=user,
        label=np.where(swap, 1 - label, label), weight=np.ones(len(user)), group=mix(np.arange(len(user))),
        prompt=np.zeros(ITEMS, np.int64), users=pl.DataFrame({"user_id": [f"u{i}" for i in range(USERS)]}),
        item_keys=keys, prompt_keys=text_keys([""]),
    )  # fmt: skip
    return data, float(((gap > 0) == (label > 0.5)).mean())


def right(model, data):
    return float(((model.prefer(data) > 0.5) == (data.label > 0.5)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("huge", [0, 4])
def test_tastes_are_found_under_a_power_law(huge, tmp_path):
    """2,400 test comparisons, so a standard error is .009; at full width users' codes gain nothing."""
    data, truth = world(0.5, huge)
    test = np.arange(len(data)) % EACH >= EACH - 8
    train, test = data.take(~test), data.take(test)
    pooled, own = BradleyTerry().fit(train), LowRank().fit(train)
    assert own.spec.rank >= 1
    assert right(own, test) > right(pooled, test) + 0.04
    assert right(own, test) > truth - 0.08
    assert own.head.n_embedding == WIDTH
    assert own.directions == "128 of 1,024 directions"
    assert "128 of 1,024 directions" in repr(own)
    own.save_pretrained(tmp_path / "reward")
    np.testing.assert_array_equal(load(tmp_path / "reward").prefer(test), own.prefer(test))


def test_where_no_direction_leads_all_dimensions_are_kept():
    data, _ = world(0.0)
    whole = Sizes.of(data).inputs(np.ones(WIDTH), move=False)
    assert directions.principal(data, whole).directions is None
    assert inputs.seen(data, FitOptions(), prompts=False).data.dim == WIDTH


def test_principal_directions_are_those_of_the_covariance():
    """Against numpy on a spectrum that falls fast; orthonormal, and as many as there are comparisons for."""
    data, _ = world(1.0)
    whole = Sizes.of(data).inputs(np.ones(WIDTH), move=False)
    found = directions.principal(data, whole).directions
    assert found.shape[1] == directions.COUNTS[0]
    np.testing.assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-4)
    used = np.unique(np.concatenate([data.first, data.second]))
    _, vectors = np.linalg.eigh(np.cov(data.items[used].T))
    overlap = np.linalg.svd(vectors[:, ::-1][:, :8].T @ found[:, :8])[1]
    assert overlap.min() > 0.99
    more = data.take(np.tile(np.arange(len(data)), 5))
    assert directions.principal(more, whole).directions.shape[1] == directions.COUNTS[-1]


def test_the_number_of_directions_is_what_held_out_tastes_want():
    """Tastes in 40 dimensions under noise: 128 directions hold them, and further ones only add noise."""
    data, _ = world(0.5)
    data, held = directions.leading(data, directions.COUNTS[-1]), np.arange(len(data)) % EACH >= EACH - 8
    nats = directions.nats_by_count(data.take(~held), data.take(held))
    assert list(nats) == list(directions.COUNTS)
    assert min(nats, key=lambda count: nats[count].sum()) == directions.COUNTS[0]
    assert directions.enough(nats) < directions.COUNTS[-1]


def test_more_directions_are_taken_unless_they_are_clearly_worse():
    best = np.full(400, 0.6)
    wave = 0.1 * (-1.0) ** np.arange(400)
    assert directions.enough({128: best, 256: best + wave + 0.001, 512: best + wave + 0.01}) == 256
    assert directions.enough({128: best + 0.1, 256: best, 512: best + 0.1}) == 256
    assert directions.enough({128: best}) == 128


@pytest.mark.parametrize(("held_out", "codes", "warned"), [(0.66, 1, True), (0.605, 1, False), (0.66, 0, False)])
def test_a_fit_that_finds_less_than_the_method_of_moments_says_so(held_out, codes, warned):
    data, _ = world(0.5)
    onto = np.eye(WIDTH, 128, dtype=np.float32)
    few = Inputs(np.zeros(WIDTH), np.ones(WIDTH), np.full(WIDTH, -9.0), np.full(WIDTH, 9.0), onto)
    told, fitted_trace = Trace(), Trace()
    told.add("inputs: 128 principal directions", 20.0, np.nan, 0.60)
    fitted_trace.add("decay", 1.0, 0.5, held_out)
    head = PooledHead(128, hidden=0, temperature=bool(codes), generator=torch.Generator())
    prior = Prior.isotropic(codes, 1.0)
    fitted = Fitted(head, prior, Posterior.of_prior(prior, USERS), fitted_trace)
    seen = inputs.SeenInputs(data, few, None, told)
    with pytest.warns(InputWarning, match="low_rank will fit") if warned else nullcontext():
        absorbed = seen.absorbed(fitted)
    assert absorbed.report == {"principal_directions": 128}
    assert absorbed.head.n_embedding == WIDTH


@pytest.mark.parametrize("hidden", [0, 5])
def test_weights_take_embeddings_whole_after_a_fit_in_few_directions(hidden):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 30)) * np.geomspace(1, 100, 30) + 7
    onto = np.linalg.qr(rng.normal(size=(30, 6)))[0].astype(np.float32)
    few = Inputs(np.full(30, 7.0), np.geomspace(1, 100, 30), np.full(30, -150.0), np.full(30, 150.0), onto)
    projector = Projector(6, 3, hidden, torch.Generator().manual_seed(0)).double()
    reduced = torch.as_tensor(few.apply(x)).double()
    projector.standardise(reduced.mean(0), reduced.var())
    before = projector(reduced)
    projector.absorb(few)
    after = projector(torch.as_tensor(x))
    torch.testing.assert_close(after, before, atol=2e-5, rtol=1e-5)  # `apply` gives float32


def test_directions_are_the_same_for_any_numbering_of_items():
    data, _ = world(0.5)
    order = np.random.default_rng(1).permutation(ITEMS)
    place = np.argsort(order)
    other = replace(
        data, items=data.items[order], item_keys=data.item_keys[order], first=place[data.first],
        second=place[data.second],
    )  # fmt: skip
    whole = Sizes.of(data).inputs(np.ones(WIDTH), move=False)
    one, two = (directions.principal(d.in_key_order(), whole).directions for d in (data, other))
    np.testing.assert_array_equal(one, two)


def test_scalings_of_a_power_law_are_as_they_come_first():
    data, _ = world(0.5)
    assert next(iter(scalings(Sizes.of(data)))) == AS_THEY_COME
