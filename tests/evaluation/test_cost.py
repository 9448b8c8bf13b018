"""Costs of work whose cost is known; nothing here depends on how fast the machine is."""

import threading
import time

import numpy as np
import pytest

from plurality.evaluation import cost as metering
from plurality.evaluation.cost import Cost, metered

MIB = 2**20


@pytest.fixture
def sampled(monkeypatch):
    """Wait until memory has been looked at once more by the watcher."""
    looked, real = threading.Event(), metering._own_memory

    def looking(process):
        value = real(process)
        looked.set()
        return value

    def wait():
        for _ in range(2):  # the first look may have begun before
            looked.clear()
            assert looked.wait(20)

    monkeypatch.setattr(metering, "_own_memory", looking)
    return wait


def test_a_block_of_memory_shows_though_it_is_gone_at_the_end(sampled):
    """256 MiB of touched pages; allocators of a long-lived process keep or give back some MiB besides."""
    with metered(every=0.001) as cost:
        block = np.ones(256 * MIB, dtype=np.uint8)
        sampled()
        del block
    assert 220 < cost.peak_mib < 300


def test_memory_from_before_is_not_counted(sampled):
    block = np.ones(64 * MIB, dtype=np.uint8)
    with metered(every=0.001) as cost:
        total = int(block.sum(dtype=np.int64))
        sampled()
    assert total == len(block)
    assert 0 <= cost.peak_mib < 30


def test_mapped_pages_are_not_counted(sampled, tmp_path):
    """Pages of a file belong to the system's cache, not to the fit that reads them."""
    np.save(tmp_path / "mapped.npy", np.ones((64, 2**17)))
    with metered(every=0.001) as cost:
        mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
        total = sum(float(row.sum()) for row in mapped)
        sampled()
    assert total == 64 * 2**17
    assert cost.peak_mib < 30


@pytest.mark.parametrize(("looks", "peak"), [([100, 164, 120], 64), ([100, 80, 90], 0), ([100, 100, 130], 30)])
def test_the_peak_is_the_most_beyond_the_start(monkeypatch, looks, peak):
    """What is seen at the start, by the watcher and at the end."""
    start, between, end = (look * MIB for look in looks)
    watched, places = threading.Event(), iter([start])

    def scripted(_):
        if threading.current_thread() is threading.main_thread():
            return next(places, end)
        watched.set()
        return between

    monkeypatch.setattr(metering, "_own_memory", scripted)
    with metered(every=0.001) as cost:
        assert watched.wait(20)
    assert cost.peak_mib == peak


def test_time_lies_between_clocks_inside_and_outside():
    outer, outer_cpu = time.perf_counter(), time.process_time()
    with metered() as cost:
        inner, inner_cpu = time.perf_counter(), time.process_time()
        while time.process_time() - inner_cpu < 0.05:
            pass
        inner, inner_cpu = time.perf_counter() - inner, time.process_time() - inner_cpu
    assert inner <= cost.seconds <= time.perf_counter() - outer
    assert 0.05 <= inner_cpu <= cost.cpu_seconds <= time.process_time() - outer_cpu


def test_a_failure_is_measured_too_and_leaves_no_watcher():
    threads = threading.active_count()
    costs = []

    def fail():
        with metered() as cost:
            costs.append(cost)
            assert threading.active_count() == threads + 1
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        fail()
    assert threading.active_count() == threads
    assert costs[0].seconds >= 0
    assert costs[0].peak_mib >= 0


def test_there_is_no_cost_before_the_end():
    with metered() as cost:
        assert np.isnan(list(vars(cost).values())).all()
        assert repr(cost) == repr(Cost())
    assert np.isfinite(list(vars(cost).values())).all()
