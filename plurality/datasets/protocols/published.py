"""Splits that published work reports its numbers on, as functions from comparisons to `Cells`.

A draw is of stable keys, not of a file's order: the rule and its proportions are the published ones, the people dealt
out are not the same ones as theirs. Numbers from these splits stand beside published ones, never in their place.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.data.splits import Cells, Mask, held_share, rank_within
from plurality.deprecation import renamed
from plurality.errors import InputError

__all__ = ["lore_prism", "p_rlhf_prism", "personal_reward_bench", "sizes", "vpl_uf_p"]

SEEN, UNSEEN = "seen user, unseen {}", "unseen user, unseen {}"


@renamed(test="test_size")
def lore_prism(
    data: Comparisons, *, unseen_users: float = 0.5, test_size: float = 0.5, least: int = 6, seed: int = 123
) -> Cells:
    """LoRe on PRISM: people of more than five dialogues, some unseen, and half of every user's dialogues held out.

    Groups are dialogues: seen users' other half is trained on, unseen users' other half is their support. The paper
    has half of the people unseen, the code of August 2025 a fifth (`unseen_users=0.2`). Its limits on the length of
    texts are the loader's business. Source: arXiv 2504.14439. Raises InputError where a part is empty.

    data         PRISM, with dialogues as groups
    test_size    share of every user's dialogues held out
    least        dialogues that a person must have
    seed         of the draw
    """
    data = data.take(_dialogues(data)[data.user] >= least)
    if not len(data):
        raise InputError(f"{data.source}: no user has {least} groups or more; give fewer by least=")
    key = combine(data.user_keys()[data.user], data.group)
    dialogue, first, place = np.unique(key, return_index=True, return_inverse=True)
    owner = data.user[first]
    held = (rank_within(owner, uniform(dialogue, seed)) < np.round(test_size * _dialogues(data)[owner]))[place]
    new = _new_users(data, unseen_users, seed)
    tests = {SEEN.format("group"): held & ~new, UNSEEN.format("group"): held & new}
    return _cells(data, ~held & ~new, ~held & new, tests, "group")


@renamed(test="test_size")
def p_rlhf_prism(data: Comparisons, *, unseen_users: float = 0.1, test_size: float = 0.1, seed: int = 123) -> Cells:
    """P-RLHF on PRISM: a tenth of people unseen and never adapted to, a tenth of the others' dialogues held out.

    Groups are dialogues. All that unseen users said is test: the generic user answers for them. Source: arXiv
    2402.05133. Raises InputError where a part is empty.

    data            PRISM, with dialogues as groups
    unseen_users    share of people held out
    test_size       share of the others' dialogues held out
    seed            of the draw
    """
    new = _new_users(data, unseen_users, seed)
    dialogue = combine(data.user_keys()[data.user], data.group)
    held = np.zeros(len(data), dtype=bool)
    held[~new] = held_share(dialogue[~new], test_size, seed, 0)
    tests = {SEEN.format("group"): held & ~new, UNSEEN.format("group"): new}
    return _cells(data, ~held & ~new, np.zeros(len(data), dtype=bool), tests, "group")


def personal_reward_bench(data: Comparisons) -> Cells:
    """PersonalRewardBench: the published rows of train, val and test, which stand in the column `objective`.

    So the loader reads them, `load("personal_reward_bench", ...)`. Rows of `val` of people with rows in `train` are in
    no part, others' are their support. Source: SynthesizeMe (Personal Reward Bench), ACL 2025. Raises InputError for
    names that are none of these three, or an empty part.

    data    the data set with its splits in `objective`
    """
    known = {"train", "val", "test"}
    if data.objective is None or not set(data.objectives) <= known:
        names = ", ".join(data.objectives) or "nothing"
        raise InputError(
            f"{data.source}: the objective says {names}, where a row's split (train, val or test) belongs; "
            'read the set by load("personal_reward_bench", ...)'
        )
    part = np.array(data.objectives)[data.objective]
    train = part == "train"
    seen = np.isin(data.user, data.user[train])
    tests = {SEEN.format("group"): (part == "test") & seen, UNSEEN.format("group"): (part == "test") & ~seen}
    return _cells(data, train, (part == "val") & ~seen, tests, "group")


@renamed(test="test_size")
def vpl_uf_p(data: Comparisons, *, survey: int = 100, test_size: float = 0.2, seed: int = 0) -> Cells:
    """VPL on UltraFeedback-P: pairs that users (rating aspects) disagree about, contexts drawn from one survey.

    A share `test_size` of prompts is held out. Of the pairs of the others, `survey` are the pool that every user's
    context is drawn from, in `support` and trained on as well; draw 2 to 8 of them with `few_shot`. The sizes are
    settings here, to be given as the numbers to compare with were made. Source: arXiv 2408.10075. Raises InputError
    where no pair divides users or a part is empty.

    data    UltraFeedback with users that rate aspects
    seed    of the draw
    """
    pair = np.unique(combine(data.item_keys[data.first], data.item_keys[data.second]), return_inverse=True)[1]
    low, high = np.ones(int(pair.max(initial=-1)) + 1), np.zeros(int(pair.max(initial=-1)) + 1)
    np.minimum.at(low, pair, data.label)
    np.maximum.at(high, pair, data.label)
    divided = (low < 0.5) & (high > 0.5)
    if not divided.any():
        raise InputError(f"{data.source}: no pair divides its users; give comparisons of the same pairs by every user")
    data = data.take(divided[pair])
    held = held_share(data.prompt_keys[data.prompt[data.first]], test_size, seed, 0)
    key = combine(data.item_keys[data.first], data.item_keys[data.second])
    pool = np.unique(key[~held])
    asked = pool[np.argsort(uniform(pool, seed), kind="stable")[:survey]]
    return _cells(data, ~held, ~held & np.isin(key, asked), {SEEN.format("prompt"): held}, "prompt")


def _dialogues(data: Comparisons) -> NDArray[np.intp]:
    """How many groups each user has: (U,)."""
    group = np.unique(data.group, return_inverse=True)[1]
    cells = np.unique(np.stack([data.user, group]), axis=1)
    return np.bincount(cells[0], minlength=data.users.height)


def _new_users(data: Comparisons, share: float, seed: int) -> Mask:
    """Rows of the users dealt to the unseen."""
    if not 0 < share < 1:
        raise InputError(f"share of unseen users {share} must lie between 0 and 1")
    return held_share(data.user_keys()[data.user], share, seed, 0)


def _cells(data: Comparisons, train: Mask, support: Mask, tests: dict[str, Mask], unit: str) -> Cells:
    if not train.any() or not any(mask.any() for mask in tests.values()):
        raise InputError(f"{data.source}: the protocol leaves no comparison to train on or to test on")
    parts = {name: data.take(mask) for name, mask in tests.items()}
    return Cells(data.take(train), data.take(support), parts, unit)


def sizes(cells: Cells) -> pl.DataFrame:
    """part, users, comparisons, groups of every part of a split: what a paper reports of it.

    cells    the parts of a split
    """
    parts = {"train": cells.train, "support": cells.support, **cells.tests}
    rows = [(name, len(p.present), len(p), len(np.unique(p.group))) for name, p in parts.items()]
    return pl.DataFrame(rows, schema=["part", "users", "comparisons", "groups"], orient="row")
