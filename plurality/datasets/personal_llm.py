"""PersonalLLM: eight replies to a prompt scored by ten reward models; a simulated user weighs the ten."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import NUMBER, TEXT
from plurality.errors import InputError

ABOUT = About(
    hub="namkoong-lab/PersonalLLM",
    licence="not stated",
    files=("train-*.parquet", "test-*.parquet"),
    checked=Checked.READERS,
)
Protocol = Literal["repository", "lore"]
Split = Literal["train", "test"]
Array = NDArray[np.float64]

REWARDS: tuple[str, ...] = ("gemma_2b", "gemma_7b", "mistral_raft", "llama3_sfairx", "oasst_deberta_v3", "beaver_7b")
REWARDS += ("oasst_pythia_7b", "oasst_pythia_1b", "mistral_ray", "mistral_weqweasdas")
REPLIES = range(1, 9)
COLUMNS = {"prompt": TEXT} | {f"response_{i}": TEXT for i in REPLIES}
COLUMNS |= {f"response_{i}_{reward}": NUMBER for i in REPLIES for reward in REWARDS}


def frames(
    source: str | Path,
    *,
    protocol: Protocol = "repository",
    split: Split = "train",
    n_users: int = 1000,
    pairs_per_user: int = 47,
    concentration: float = 0.1,
    seed: int = 0,
) -> Frames:
    """Noiseless comparisons of simulated users, w ~ Dirichlet(concentration · 1) over the ten rewards of a reply.

    repository   rewards z-scored, two replies drawn from the first seven of a prompt's, as the authors' generator does
    lore         raw rewards, the best with the worst of all eight: the easiest pair there is

    The two are not comparable. A user's prompts are drawn without replacement; `people` gives the true weights
    for the same seed. z-scores are over the file that is read. Raises InputError for bad files or options.
    """
    one_of("protocol", protocol, get_args(Protocol))
    one_of("split", split, get_args(Split))
    if min(n_users, pairs_per_user) < 1 or not concentration > 0:
        raise InputError("n_users, pairs_per_user and concentration must be positive; give positive numbers")
    table = open_table(source, (f"{split}-*.parquet", split), COLUMNS)
    blank = pl.any_horizontal(~pl.col(name).str.contains(r"\S") for name in COLUMNS if COLUMNS[name] is TEXT)
    kept, dropped = sieve(table.frame, {"prompts with a blank text": blank})
    rows = kept.select(*COLUMNS).collect(engine="streaming")
    if rows.height < pairs_per_user:
        raise InputError(f"{table.place}: {rows.height:,} prompts for pairs_per_user={pairs_per_user}; ask for fewer")
    rng = np.random.default_rng([seed, 1])
    prompt = _prompts(rng, n_users, rows.height, pairs_per_user)
    user = np.repeat(np.arange(n_users), pairs_per_user)
    weights = people(n_users, concentration=concentration, seed=seed).drop("user_id").to_numpy()
    rewards = _rewards(rows, standardised=protocol == "repository")[prompt]  # (N, 8, 10)
    utility = np.matmul(rewards, weights[user][:, :, None])[:, :, 0]  # (N, 8)
    if protocol == "lore":
        first, second = utility.argmax(1), utility.argmin(1)
    else:
        first = rng.integers(7, size=len(user))
        second = (first + rng.integers(1, 7, size=len(user))) % 7
    at = np.arange(len(user))
    gap = utility[at, first] - utility[at, second]
    chosen, rejected = np.where(gap >= 0, first, second), np.where(gap >= 0, second, first)
    texts = np.column_stack([rows[f"response_{i}"].to_numpy() for i in REPLIES])
    made = pl.DataFrame(
        {
            "user_id": pl.Series([f"user_{i}" for i in range(n_users)]).gather(user),
            "prompt": rows["prompt"].gather(prompt),
            "chosen": texts[prompt, chosen],
            "rejected": texts[prompt, rejected],
            "label": np.where(gap == 0, 0.5, 1.0),
        },
        schema_overrides={"chosen": pl.String, "rejected": pl.String},
    )
    made_lazy, more = sieve(made.lazy(), {"pairs of equal texts": pl.col("chosen") == pl.col("rejected")})
    users = people(n_users, concentration=concentration, seed=seed).select("user_id")
    return some(Frames("personal_llm", made_lazy.collect(), users, {**table.dropped, **dropped, **more}), source)


def people(n_users: int, *, concentration: float = 0.1, seed: int = 0) -> pl.DataFrame:
    """The true weights of the users of `frames` with the same seed: `user_id` and a column a reward model.

    They are no demographics, so the users table of `frames` does not hold them.
    """
    drawn = np.random.default_rng([seed, 0]).dirichlet(np.full(len(REWARDS), concentration), size=n_users)
    ids = pl.Series("user_id", [f"user_{i}" for i in range(n_users)])
    return pl.DataFrame(drawn, schema=list(REWARDS)).insert_column(0, ids)


def _prompts(rng: np.random.Generator, n_users: int, n_prompts: int, each: int) -> NDArray[np.int64]:
    """Rows of prompts, `each` for every user, no prompt twice for one: (n_users · each,)."""
    drawn = rng.random((n_users, n_prompts), dtype=np.float32)
    return np.argpartition(drawn, each - 1, axis=1)[:, :each].reshape(-1)


def _rewards(rows: pl.DataFrame, *, standardised: bool) -> Array:
    """Rewards (prompts, 8, 10), of each reward model over its own mean and sd if `standardised`."""
    columns = [f"response_{i}_{reward}" for i in REPLIES for reward in REWARDS]
    rewards = rows.select(columns).to_numpy().reshape(rows.height, len(REPLIES), len(REWARDS))
    if not standardised:
        return rewards
    sd = rewards.std(axis=(0, 1))
    return (rewards - rewards.mean(axis=(0, 1))) / np.where(sd > 0, sd, 1.0)
