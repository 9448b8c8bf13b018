"""Fit a family: choose its settings on held-out items, then fit everything and infer every user's code."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plurality.codes import Posterior, Prior
from plurality.comparisons import Comparisons
from plurality.heads import Head
from plurality.joint import LAST, Joint, Plan
from plurality.optimisers import threads_for
from plurality.progress import stages
from plurality.selection import Candidate, Run, Trace, choose

if TYPE_CHECKING:
    from plurality.spec import Spec


@dataclass(frozen=True)
class Fitted:
    """What a fit returns.

    posterior   a row a user of the fitted data's users table
    spec        the spec with what was chosen filled in, so that it builds this very head; None if it does already
    report      what the family found out, ready for JSON: shares, reliabilities, diagnostics
    """

    head: Head
    prior: Prior
    posterior: Posterior
    trace: Trace
    spec: "Spec | None" = None
    report: dict[str, Any] = field(default_factory=dict)


def fit(candidates: Sequence[Candidate], data: Comparisons, plan: Plan, run: Run) -> Fitted:
    """Choose candidate, decay and code prior on held-out items, refit on everything, infer every user's code.

    Raises InputError when a head needs prompts that are not embedded.
    """
    trace = Trace()
    total = len(candidates) * plan.n_init + 4
    with threads_for(len(data.items) * data.dim * 16.0), stages("fit", total, show=run.progress) as bar:
        choice = choose(candidates, data, plan, run, trace, bar)
        bar("all comparisons")
        warm = choice.warm
        joint = Joint(warm.head, data, plan, warm.sd * math.sqrt(choice.spread))
        joint.codes = warm.codes
        trace.add("refit", choice.decay, joint.minimise(choice.decay, LAST))
        bar("codes of users")
        prior, posterior = joint.infer(choice.spread)
    return Fitted(joint.head.cpu().float().requires_grad_(False).eval(), prior, posterior, trace)
