"""How people use a scale of ratings: where each one's answers lie on it, and over how much of it they spread.

Reported, never rewarded: `plurality.fitting.scales` has the model.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from plurality.arrays import Float
from plurality.data.answered_things import answered_things
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.scales import Scale, fit_scale, grouped_levels

__all__ = ["ScaleUse", "scale_use"]

SAME_SHIFT, SAME_SCALE = 0.2, 0.1  # sd of shifts, of log scales, below which people use a scale alike


@dataclass(frozen=True, eq=False)
class ScaleUse:
    """How people use their scale.

    users        a row a person with ratings: user_id, n, lowest, highest, mean, share_of_commonest, shift, shift_sd,
                 scale (1 is usual, more spreads further over the scale; null of thumbs), log_scale_sd
    levels       lowest rating of each of K levels
    cuts         (K − 1,) cut points between them, log-odds
    shift_sd       of people's shifts, log-odds
    log_scale_sd   of logarithms of their scales; 0 of two levels
    sentences      what it says, in words
    """

    users: pl.DataFrame
    levels: Float
    cuts: Float
    shift_sd: float
    log_scale_sd: float
    sentences: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return "\n".join(self.sentences)


def scale_use(data: Comparisons, kind: str = "rating") -> ScaleUse:
    """Every person's shift and scale, cut points that all share: P(y ≤ k) = σ((c_k − shift_u) / scale_u).

    Shift and scale are partially pooled: of few ratings they are near 0 and 1. People who rate everything alike are
    there. Over people who are asked about different things, shifts also hold that these were better or worse. Reported,
    never rewarded: ratings are learned from by comparing those of one person.
    More than 10 levels are put together in 10 of like size; ratings of several objectives are taken together.

    data    comparisons, some of whose rows are ratings
    kind    "rating", or "thumbs", where shift is how readily a person accepts

    Raises InputError where nothing is rated. Source: Rossi, Gilula & Allenby 2001.

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada"] * 4 + ["bo"] * 4, "completion": [0, 1, 2, 3] * 2, "rating": [5, 5, 4, 5, 1, 2, 1, 1]}
    >>> used = pl8.scale_use(pl8.read(rows, embeddings=np.eye(4)))
    >>> used.users["shift"].sign().to_list()
    [1.0, -1.0]
    """
    if kind not in ("rating", "thumbs"):
        raise InputError(f'scale_use: kind={kind!r} is no scale; give "rating" or "thumbs"')
    given = answered_things(data, kind).select("user", "level")
    if data.silent is not None:
        quiet = data.silent.filter(pl.col("answer_kind") == kind)
        copies = quiet.select("user", pl.col("level").repeat_by("n")).explode("level")
        given = pl.concat([given, copies.cast(given.schema)])
    if not given.height:
        raise InputError(f"{data.source}: nobody gives a {kind}; read rows of user_id, completion and {kind}")
    levels, level = grouped_levels(given["level"].to_numpy())
    who, user = np.unique(given["user"].to_numpy(), return_inverse=True)
    described = given.group_by("user").agg(
        n=pl.len(),
        lowest=pl.col("level").min(),
        highest=pl.col("level").max(),
        mean=pl.col("level").mean(),
        share_of_commonest=pl.col("level").unique_counts().max() / pl.len(),
    ).sort("user")  # fmt: skip
    if len(levels) == 1:
        zeros = np.zeros((len(who), 2))
        found = Scale(np.zeros(0), 0.0, 0.0, 0.0, zeros, zeros, zeros[:, 0])
    else:
        found = fit_scale(level, user, len(who))
    scaled = len(levels) > 2
    users = described.with_columns(
        user_id=data.users["user_id"].gather(who),
        shift=found.mean[:, 0],
        shift_sd=found.sd[:, 0],
        scale=np.exp(found.mean[:, 1]) if scaled else pl.lit(None, dtype=pl.Float64),
        log_scale_sd=found.sd[:, 1] if scaled else pl.lit(None, dtype=pl.Float64),
    ).select("user_id", pl.all().exclude("user_id", "user"))  # fmt: skip
    made = ScaleUse(users, levels, found.cuts, found.shift_sd, found.log_scale_sd)
    return replace(made, sentences=tuple(_said(made, kind)))


def _said(used: ScaleUse, kind: str) -> list[str]:
    users = used.users
    several = users.filter(pl.col("n") > 2)
    if kind == "thumbs":
        share = several["mean"].is_in([0.0, 1.0]).to_numpy().mean() if several.height else 0.0
        count = f"{users['n'].sum():,} thumbs of {users.height:,} people"
        said = [f"{count}; {100 * share:.0f} % of those with three or more put them all the same way."]
        what = "how readily people accept"
    else:
        same = int((several["share_of_commonest"] == 1).sum())
        ends = int((several["lowest"] >= used.levels[-max(len(used.levels) // 5, 1)]).sum())
        said = [f"{users['n'].sum():,} ratings of {users.height:,} people on {len(used.levels)} levels from "
                f"{used.levels[0]:g}; {same:,} rate everything alike, {ends:,} use its top alone."]  # fmt: skip
        what = "where on the scale people's answers lie"
    alike = used.shift_sd < SAME_SHIFT and used.log_scale_sd < SAME_SCALE
    spread = f", scales by a factor of {np.exp(used.log_scale_sd):.1f}" if used.log_scale_sd else ""
    verdict = "they use it alike" if alike else "reported, never rewarded"
    said.append(f"Scale use: {what} differs by {used.shift_sd:.1f} log-odds (sd){spread}: {verdict}.")
    return said
