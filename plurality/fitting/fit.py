"""Fit a family: choose its settings on held-out items, then fit everything and infer every user's code."""

import math
from collections.abc import Sequence

from plurality.data.comparisons import Comparisons
from plurality.fitting.objective import LAST, FitPlan, Objective
from plurality.fitting.optimisers import threads_for
from plurality.fitting.tuning import Candidate, FitOptions, choose
from plurality.io.progress import stages
from plurality.reward.fitted import Fitted, Trace


def fit(candidates: Sequence[Candidate], data: Comparisons, plan: FitPlan, run: FitOptions) -> Fitted:
    """Choose candidate, decay and code prior on held-out items, refit on everything, infer every user's code.

    Raises InputError when a head needs prompts that are not embedded.
    """
    trace = Trace()
    total = len(candidates) * plan.n_init + 4
    with threads_for(len(data.items) * data.dim * 16.0), stages("fit", total, show=run.progress) as bar:
        choice = choose(candidates, data, plan, run, trace, bar)
        bar("all comparisons")
        code_sd = choice.code_sd * math.sqrt(choice.spread)
        objective = Objective(choice.head, data, plan, code_sd, final=True)
        objective.codes = choice.codes.to(objective.codes)
        trace.add("refit", choice.decay, objective.minimise(choice.decay, LAST))
        bar("codes of users")
        prior, posterior = objective.infer(choice.spread)
    return Fitted(objective.head.cpu().float().requires_grad_(False).eval(), prior, posterior, trace)
