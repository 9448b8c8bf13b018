"""What a comparison still says of a taste when its user has compared the same items before.

A person thinks something of an item that the embedding does not hold, and it is in all of that person's comparisons of
it: ten items in 45 pairs are ten readings of a taste, not 45. Where any two comparisons of a user that share an item
agree by ρ beyond the model, k of them weigh as k / (1 + ρ (k − 1)), Kish's design effect of clustered answers (Kish
1965, §5.4). Comparisons whose items the user meets but once keep all of their weight, and so does one that is given
again: a weight of 3 is the row three times, and neither tells of another item.
"""

from dataclasses import replace

import numpy as np

from plurality.arrays import Float
from plurality.data.comparisons import Comparisons


def repeats(data: Comparisons) -> Float:
    """In how many other pairs each user has met the items of a comparison, mean of its sides: (N,).

    data    comparisons
    """
    n_items = len(data.items)
    pairs, pair = np.unique(data.first * n_items + data.second, return_inverse=True)
    given, place = np.unique(data.user * len(pairs) + pair, return_inverse=True)  # a pair given again is one
    user, (first, second) = given // len(pairs), np.divmod(pairs[given % len(pairs)], n_items)
    met = np.unique(np.tile(user, 2) * n_items + np.r_[first, second], return_inverse=True)[1]
    others: Float = (np.bincount(met)[met] - 1.0).reshape(2, -1).mean(axis=0)
    return others[place]


def discounted(data: Comparisons, correlation: float) -> Comparisons:
    """The same comparisons with the weight that they have as evidence of their users' codes.

    data           comparisons
    correlation    ρ, 0 or more; 0 changes nothing
    """
    return replace(data, weight=data.weight / (1 + correlation * repeats(data))) if correlation else data
