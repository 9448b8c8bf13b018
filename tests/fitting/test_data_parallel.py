"""Fits by several processes: shares of comparisons, sums over them, and the same fit as one process makes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

import plurality
from plurality.cli import main
from plurality.data.store import load
from plurality.datasets.simulated import populations as planted
from plurality.fitting import objective
from plurality.fitting.data_parallel import ALONE, Process, current, data_parallel
from plurality.fitting.objective import FitPlan, Objective
from plurality.models.pal.head import IdealPoint

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*arguments):
    """What two processes say."""
    asked = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    ran = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def data():
    seen, _ = planted.pal(30, prototypes=2, width=6, preference=2, norm=2.0, seed=0)
    return seen.sample(20, seed=1).data


def head():
    generator = torch.Generator().manual_seed(0)
    return IdealPoint(6, prototypes=2, preference=3, hidden=4, distance="squared", generator=generator).double()


def losses(data):
    """Where thirty steps end: of all comparisons, of batches, and by a line search."""
    plans = (
        FitPlan(steps=(30, 1, 1)),
        FitPlan(batched_steps=(30, 1, 1), batch=64),
        FitPlan(convex=True, steps=(6, 1, 1)),
    )
    ended = []
    for plan, most in zip(plans, (len(data.items), 10, 10), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(objective, "MAX_FULL_BATCH", most)
            fit = Objective(head(), data, plan, code_sd=0.5)
            ended += [fit.minimise(2.0, objective.FIRST), float(fit.codes.square().sum()), fit.held_out(fit.rows)]
    return ended


@pytest.mark.parametrize("world", [2, 3, 7])
def test_every_comparison_is_one_process_s(data, world):
    shares = [Process(rank, world).rows(data) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(len(data)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    parts = torch.cat([Process(rank, world).part(drawn) for rank in range(world)])
    assert sorted(parts.tolist()) == list(range(len(data)))


def test_processes_share_few_items():
    seen, _ = planted.pal(50, prototypes=2, width=3, preference=2, norm=2.0, seed=0)
    data = seen.sample(10, seed=1).data
    shares = [data.take(Process(rank, 2).rows(data)) for rank in range(2)]
    one, other = (set(share.first) | set(share.second) for share in shares)
    assert len(one & other) <= 2  # those of the prompt that the cut goes through


def test_value_and_gradient_are_those_of_the_sum(monkeypatch):
    weights = [torch.tensor([[1.0, -2.0]], requires_grad=True), torch.tensor([0.5], requires_grad=True)]
    x = torch.tensor([[3.0, 1.0], [0.0, 2.0], [-1.0, 1.0]])

    def value(rows):
        return (weights[0] @ x[rows].T).tanh().sum().double() * weights[1].exp()

    whole = value([0, 1, 2]).sum() ** 2
    expected = torch.autograd.grad(whole, weights)
    other = value([2]).sum()
    elsewhere = torch.cat([other.detach()[None], *(g.reshape(-1) for g in torch.autograd.grad(other, weights))])
    monkeypatch.setattr(dist, "all_reduce", lambda sums: sums.add_(elsewhere[: len(sums) or 1].reshape(sums.shape)))
    total = Process(0, 2).summed(value([0, 1]).sum(), weights) ** 2
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(torch.autograd.grad(total, weights), expected)


def test_without_torchrun_there_is_one_process(monkeypatch, data):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")  # of a trainer that this process is part of
    with data_parallel() as process:
        assert process == current() == ALONE
    assert ALONE.rows(data) is None


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(data, tmp_path):
    store = data.save(tmp_path / "store")
    torchrun(__file__, store, tmp_path)
    made = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert made[0] == made[1]
    np.testing.assert_allclose(made[0], losses(data), rtol=1e-6)


@pytest.mark.slow
def test_the_page_s_command_fits_as_one_process_does(data, tmp_path, monkeypatch):
    page = (ROOT / "docs/pages/howto/big_work.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^torchrun --standalone --nproc-per-node 8 (-m plurality fit .*)$", page, re.MULTILINE)
    asked = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    data.save("store")
    told = torchrun(*asked)
    assert told.count("written to reward") == 1
    Path("reward").rename("two")
    assert main(asked[2:]) == 0
    one, two = (plurality.load(name) for name in ("reward", "two"))
    assert two.trace.rows[-1]["loss"] == pytest.approx(one.trace.rows[-1]["loss"], abs=1e-4)
    np.testing.assert_allclose(two.prefer(data), one.prefer(data), atol=2e-3)


if __name__ == "__main__":  # what torchrun runs
    with data_parallel() as this:
        Path(sys.argv[2], f"{this.rank}.json").write_text(json.dumps(losses(load(sys.argv[1]))))
