"""Where a fit of ideal points begins: at planted tastes, in their directions and as curved as they are."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from plurality.datasets.simulated import populations as planted
from plurality.fitting.tuning import standardise
from plurality.models import PAL
from plurality.models.pal.start import start_at_tastes

WIDTH = 64


@pytest.fixture(scope="module")
def people():
    """Three tastes among 64 dimensions."""
    return planted.pal(300, prototypes=3, width=WIDTH, preference=8, seed=2)


def started(data, **settings):
    head = PAL(**settings).head(WIDTH, torch.Generator().manual_seed(0))
    standardise(head, data)
    start_at_tastes(head, data)
    return head


@torch.no_grad()
def utilities(head, items):
    """Of items (M, d) at every prototype: (K, M)."""
    alone = torch.full((head.n_codes, head.n_codes), -30.0).fill_diagonal_(0.0)
    return head.population(head.features(torch.as_tensor(items), None), alone).numpy()


def test_a_fit_begins_at_planted_tastes(people):
    seen, _ = people
    head = started(seen.sample(40, seed=1).data, n_prototypes=3)
    items = np.random.default_rng(3).standard_normal((2_000, WIDTH)).astype(np.float32)
    theirs = np.stack([seen.utility(items, np.tile(seen.theta[seen.group == k][0], (2_000, 1))) for k in range(3)])
    likeness = np.corrcoef(utilities(head, items), theirs)[:3, 3:]
    assert sorted(likeness.argmax(0)) == [0, 1, 2]
    # five of eight dimensions only curve, with a variance of 5·2·.35² beside (2·.35·4)² + 3·2·.35²: a correlation
    # of .94 at best, and 4,000 comparisons a taste tell each of 64 weights with an error
    assert likeness.max(0).min() > 0.8
    assert 0.2 < np.polyfit(utilities(head, items).std(1), theirs.std(1), 0)[0] / theirs.std() < 5


def test_more_prototypes_than_users_or_dimensions_are_no_hindrance(people):
    few = planted.pal(3, prototypes=2, width=WIDTH, preference=2, seed=0, unseen=1)[0].sample(30, seed=0).data
    for settings in ({"n_prototypes": 5}, {"n_prototypes": 1}, {"n_prototypes": 4, "preference": 1}):
        head = started(few, **settings)
        assert torch.isfinite(head.prototypes).all()
        assert torch.isfinite(head.projector.linear).all()


@pytest.mark.slow
def test_tastes_are_found_among_many_dimensions():
    """Thirteen comparisons of each of 3,000 people among 256 dimensions: from a random start .72 of a truth of .89."""
    seen, _ = planted.pal(3_000, width=256, preference=16, unseen=1, seed=0)
    train, test = seen.sample(13, seed=1), seen.sample(4, seed=2)
    model = PAL(n_prototypes=3).fit(train.data)
    right = np.mean((model.log_odds(test.data) > 0) == (test.data.label > 0.5))
    assert right > 0.80
    found = model.users.select("^weight_.*$").to_numpy().argmax(1)
    assert adjusted_rand_score(seen.group, found) > 0.8
