"""Room for personalisation on planted populations: seen where tastes are planted, and nowhere else."""

import numpy as np
import pytest

from plurality.data.comparisons import Comparisons
from plurality.data_checks.headroom import REFERENCES, WIDTH, components, room
from plurality.datasets.simulated import populations as planted


def of(population: tuple[planted.Population, planted.Population], each: int = 40, seed: int = 1) -> Comparisons:
    return population[0].sample(each, seed=seed).data


def test_planted_tastes_are_room():
    found = room(of(planted.low_rank(60, rank=2, width=8, seed=0)), split="group", n_bootstrap=200)
    assert found.verdict == "room"
    assert set(found.table["against"]) == set(REFERENCES)
    assert "There is room" in found.sentences[1]
    own = found.table["estimate"][0]
    assert 0.7 < own < 0.9  # the truth's own accuracy here is about .85


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_one_taste_is_none(seed):
    found = room(
        of(planted.taste_groups(50, shares=(1.0,), width=8, seed=seed), seed=seed), split="group", n_bootstrap=200
    )
    assert found.verdict == "none found"
    assert found.sentences[1].startswith("No room for personalisation was found")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_care_is_no_taste(seed):
    """Labels of careless people are less sure, which a temperature tells: no room for personal rewards."""
    data = of(planted.careless(150, flips=(0.0, 0.2, 0.45), width=12, seed=seed), each=60, seed=seed)
    found = room(data, split="group", n_bootstrap=200)
    assert found.verdict == "none found"


@pytest.mark.filterwarnings("ignore:.*too few to hold items out:plurality.errors.InputWarning")
def test_few_data_are_said_to_be_few():
    few_each = of(planted.low_rank(60, rank=3, width=12, seed=0), each=3)
    few_users = of(planted.low_rank(6, rank=3, width=12, seed=0), each=60)
    for data in (few_each, few_users):
        found = room(data, split="group", n_bootstrap=50)
        assert found.verdict == "too few data"
        assert any("too few" in s.lower() for s in found.sentences)


def test_components_keep_distances_of_a_plane():
    """Items in a plane of many dimensions lose nothing on fewer components."""
    rng = np.random.default_rng(0)
    items = (rng.normal(size=(300, 2)) @ rng.normal(size=(2, WIDTH + 20))).astype(np.float32)
    small = components(items)
    assert small.shape == (300, WIDTH)
    gaps = np.linalg.norm(items[:100] - items[100:200], axis=1)
    assert np.linalg.norm(small[:100] - small[100:200], axis=1) == pytest.approx(gaps, rel=1e-4)
    assert components(items[:, :8]).shape == (300, 8)
