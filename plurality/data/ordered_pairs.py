"""What an answer about several things at once says, as weighted pairs of them.

An answer puts k things on ordered levels: one chosen of a set, a ranking with ties, thumbs, ratings. Every pair on
different levels says which of the two is preferred, and by Luce's axiom it says so with σ(u_i − u_j) whatever else was
there; a person's own bar, shift and scale drop out. But k things in k(k − 1)/2 pairs are not that many answers. With
    w = 3 (1 − Σ p²) / (k (1 − Σ p³)),  p the shares of the k things on each level,
times each pair, the score at indifference has the variance that its information says, as a likelihood's has: w = 1 of
a pair; 2/k of one chosen from k and of half thumbs up, where score and information are those of the multinomial logit
and of the likelihood given how many were accepted; 3/(k + 1) of a full ranking, with 96 % of Plackett and Luce's
information at k = 3 and 87 % at 10. Utilities are in log-odds of a pair; finer ratings tell of them in units of their
own, down to 2/3 of those of their cut points.

Sources: rank breaking that is consistent, Azari Soufiani, Chen, Parkes & Xia 2013 (NeurIPS); composite likelihood,
Varin, Reid & Firth 2011; variance of ranks with ties, Lehmann 1975, appendix 1.
"""

import numpy as np

from plurality.arrays import Float, Int
from plurality.data.keys import Keys

PARTNERS = 4  # things that each is compared with on either side; all are where an answer is of 9 or fewer


def ordered_pairs(answer: Int, level: Float, weight: Float, key: Keys) -> tuple[Int, Int, Float]:
    """Rows of the better and the worse of each pair, (P,) each, and its weight (P,).

    Of long answers not all pairs are taken, but those at a few distances in the order of levels, which each thing is in
    equally often; they share the weight of all.

    answer    (n,) number of the answer that a row belongs to
    level     (n,) larger is better
    weight    (n,) positive; a weight of 3 means the same as the row three times
    key       (n,) that orders rows of one level, whatever the order of the file
    """
    order = np.lexsort((key, level, answer))
    a, y, w = answer[order], level[order], weight[order]
    starts = np.r_[True, a[1:] != a[:-1]]
    start = np.flatnonzero(starts)
    of = np.cumsum(starts) - 1  # number of the answer, in order
    size = np.diff(np.r_[start, len(a)])
    position = np.arange(len(a)) - start[of]
    n, half = size[of], size[of] // 2
    better, worse = [], []
    for turn in range(1, PARTNERS + 1):
        step = -(-turn * half // np.minimum(half, PARTNERS).clip(1))
        once = (turn <= np.minimum(half, PARTNERS)) & ((2 * step != n) | (position < step))
        here = np.flatnonzero(once)
        there = start[of[here]] + (position[here] + step[here]) % n[here]
        apart = y[here] != y[there]
        here, there = here[apart], there[apart]
        up = y[here] > y[there]
        better.append(np.where(up, here, there))
        worse.append(np.where(up, there, here))
    i, j = np.concatenate(better), np.concatenate(worse)
    taken = np.bincount(of[i], w[i] * w[j], minlength=len(start))
    share = _worth(of, y, w, len(start)) / np.where(taken > 0, taken, 1)
    sorting = np.lexsort((order[j], order[i]))  # as the rows come, not as pairs are found
    i, j = i[sorting], j[sorting]
    return order[i], order[j], w[i] * w[j] * share[of[i]]


def _worth(of: Int, y: Float, w: Float, count: int) -> Float:
    """Weight that all pairs of each answer (count,) have together: w Σ_{i<j} w_i w_j [y_i ≠ y_j]."""
    fresh = np.r_[True, (of[1:] != of[:-1]) | (y[1:] != y[:-1])]
    level = np.cumsum(fresh) - 1
    mass = np.bincount(level, w)
    owner = of[fresh]
    total = np.bincount(of, w, minlength=count)
    share = mass / total[owner]
    squares, cubes = (1 - np.bincount(owner, share**power, minlength=count) for power in (2, 3))
    alone = squares <= 0
    each = 3 * squares / (total * np.where(alone, 1, cubes))
    return np.where(alone, 0.0, each * squares * total**2 / 2)
