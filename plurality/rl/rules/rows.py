"""What a rule's rows of utilities are, and which completions are a batch to it: `rows` and `batch` of its type.

    rows    "people" of a population; "members" of an ensemble, of the completion's own user; "objectives" of a model
    batch   "any": a completion's reward does not depend on the others; "whole": on all of a batch, whatever their
            prompts; "prompt": on the other candidates of its prompt, which are solved a prompt at a time

A rule of one's own that names neither is of people, and of "any" batch.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, Self, get_args, runtime_checkable

import numpy as np

from plurality.arrays import Float, Int
from plurality.errors import InputError
from plurality.reward.heads import Head

Rows = Literal["people", "members", "objectives"]
Batch = Literal["any", "whole", "prompt"]


@runtime_checkable
class Rule(Protocol):
    """Rewards (n,) of a batch of completions from rows of utilities (P, n), their weights (P,) and group codes (P,).

    Rows are people unless the rule's type says otherwise: see `plurality.rl.rules.rows`.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        """Rewards (n,) of a batch of n completions.

        groups    (P,) code of the group of each
        """


@runtime_checkable
class OfObjectives(Protocol):
    """A rule that can name the objectives it weighs."""

    def over(self, names: tuple[str, ...]) -> Self:
        """The same rule for the objectives of a model, in their order.

        names    of the model's objectives
        """


def rows_of(rule: Rule) -> Rows:
    """What the rows of a rule's utilities are.

    rule    whose
    """
    return _word(rule, "rows", get_args(Rows))


def batch_of(rule: Rule) -> Batch:
    """Which other completions a reward by this rule depends on.

    rule    whose
    """
    return _word(rule, "batch", get_args(Batch))


def _word(rule: Rule, name: str, known: tuple[str, ...]) -> Any:
    word = getattr(rule, name, known[0])
    if word not in known:
        raise InputError(f"rule {rule.name!r}: its {name} are {word!r}; give one of {', '.join(known)}")
    return word


def bound(rule: Rule, head: Head) -> Rule:
    """The rule, as this model can fill its rows: names of objectives become rows of the model's.

    Raises InputError, which says what would have them, where a model has no such rows.

    rule    of whatever rows
    head    the model's
    """
    rows = rows_of(rule)
    if rows == "members" and not head.n_members:
        raise InputError(
            f"rule {rule.name!r} needs the rewards of an ensemble's members, a row a member, and this model is a "
            "single one; fit Ensemble of its family and give that, or call the rule itself with such rewards"
        )
    if rows == "objectives":
        if not head.objectives:
            raise InputError(
                f"rule {rule.name!r} needs a reward for each objective, a row an objective, and this model has none; "
                "fit MORE(multi_head=True) and give that, or call the rule itself with such rewards"
            )
        if isinstance(rule, OfObjectives):
            return rule.over(head.objectives)
    return rule


def check_alone(rule: Rule, trainer: str) -> None:
    """Raise InputError for a rule that compares a prompt's candidates, where completions come one by one.

    rule       which
    trainer    what hands them over so, for the message
    """
    if batch_of(rule) == "prompt":
        raise InputError(
            f"rule {rule.name!r} compares the candidates of one prompt, and {trainer} hands completions over one by "
            "one; use RewardFunction with TRL, or best_of_n"
        )


def by_prompt(apply: Callable[[Int], Float], prompt: Int) -> Float:
    """What `apply` gives for the rows of one prompt after another, put together: (n,).

    apply     rows of one prompt -> their rewards
    prompt    (n,) code of each row's prompt
    """
    order = np.argsort(prompt, kind="stable")
    out = np.empty(len(prompt))
    for rows in np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1):
        if len(rows):
            out[rows] = apply(rows)
    return out
