"""Whoever listens hears what a fit does, stage by stage; trackers are called as their documentation says."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import plurality as pl8
from plurality.datasets.simulated.populations import taste_groups
from plurality.errors import InputError
from plurality.io.experiment_log import logged, note


@pytest.fixture(scope="module")
def data():
    population, _ = taste_groups(n_users=12, shares=(1.0,), width=3)
    return population.sample(20, seed=0).data


def test_a_callable_hears_the_stages_as_the_trace_has_them(data):
    heard = []
    model = pl8.BradleyTerry().fit(data, log=lambda step, values: heard.append((step, values)))
    assert [step for step, _ in heard] == list(range(len(heard)))
    assert [v["stage"] for _, v in heard] == [row["stage"] for row in model.trace.rows]
    assert all(v["held_out"] == row["held_out"] for (_, v), row in zip(heard, model.trace.rows, strict=True)
               if row["held_out"] == row["held_out"])  # fmt: skip
    assert all(v == v for _, values in heard for v in values.values())  # nothing that is no number
    said = len(heard)
    pl8.BradleyTerry(decay=1.0).fit(data)
    assert len(heard) == said  # and nobody else's fits


def test_the_inner_of_two_listeners_hears():
    outer, inner = [], []
    with logged(lambda step, values: outer.append(values)):
        note({"a": 1.0})
        with logged(lambda step, values: inner.append(values)):
            note({"b": 2.0})
        note({"c": float("nan"), "d": "text"})
    assert (outer, inner) == ([{"a": 1.0}, {"d": "text"}], [{"b": 2.0}])


def test_trackers_are_called_by_name(data, monkeypatch):
    calls = []

    def record(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs))

    trackio = ModuleType("trackio")
    trackio.init, trackio.log, trackio.finish = record("init"), record("log"), record("finish")
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    pl8.BradleyTerry(decay=1.0).fit(data, log="trackio")
    assert [name for name, _, _ in calls[:1] + calls[-1:]] == ["init", "finish"]
    assert calls[0][2] == {"project": "plurality"}
    assert calls[1][1][0]["stage"]
    assert calls[1][2] == {"step": 0}
    calls.clear()
    wandb = ModuleType("wandb")
    wandb.init = lambda project: SimpleNamespace(log=record("log"), finish=record("finish"))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    pl8.BradleyTerry(decay=1.0).fit(data, log="wandb")
    assert calls[-1][0] == "finish"


def test_what_cannot_listen_is_an_error_before_the_fit(data, monkeypatch):
    with pytest.raises(InputError, match="no tracker; give one of trackio, wandb, mlflow"):
        pl8.BradleyTerry().fit(data, log="tensorboard")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="mlflow is not installed; run pip install mlflow"):
        pl8.BradleyTerry().fit(data, log="mlflow")
