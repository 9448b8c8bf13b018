"""Learning as answers come: what new comparisons say is added to what is known of a user, or takes its place.

What is known is the prior of what comes next (assumed-density filtering; Opper 1998): exact where natural parameters
or responsibilities add, a Laplace approximation elsewhere. `forget` shrinks what is known towards the population
before each batch, so that a user who changes is followed.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.data.graded import Grades, offset_comparisons
from plurality.errors import InputError
from plurality.reward.fitted import GRADES, Parts
from plurality.reward.posterior import Posterior
from plurality.reward.repeated_items import discounted
from plurality.reward.tensors import Tensors


@dataclass(frozen=True, eq=False)
class Adapted:
    """The users a model knows afterwards: ids, beliefs (U, C), comparisons of each (U,)."""

    user_ids: tuple[str, ...]
    posterior: Posterior
    n_comparisons: NDArray[np.int64]


def adapted(model: Parts, support: Comparisons, *, anew: bool = False, forget: float = 0.0) -> Adapted:
    """What `model` knows after `support`, shared weights and other users untouched; users keep their places.

    model      as it is
    support    comparisons by the model's unit, of users it knows or not
    anew       known users are inferred from these comparisons alone
    forget     share in [0, 1) of what is known of a user that is lost before these comparisons are added

    Raises InputError where there is nothing to adapt on, and for another share.
    """
    if not len(support):
        raise InputError(f"{support.source}: no comparison to adapt on")
    if not 0 <= forget < 1:
        raise InputError(f"forget {forget} is not a share; give 0 to forget nothing, or less than 1")
    seen = support.present
    compact = replace(support, user=np.searchsorted(seen, support.user), users=support.users[seen])
    ids: list[str] = compact.users["user_id"].to_list()
    place = {user: i for i, user in enumerate(model.user_ids)}
    known = [i for i, user in enumerate(ids) if user in place]
    before = torch.as_tensor([place[ids[i]] for i in known], dtype=torch.int64)
    prior = model.head.prior_of(model.prior, compact.users)
    told = offset_comparisons(discounted(compact, model.item_correlation), Grades.restored(model.report.get(GRADES)))
    evidence = Tensors.of(told, model.head).evidence(model.head)
    head, count = model.head.doubled(), np.bincount(compact.user, minlength=len(seen))
    if anew or not known:
        found = head.infer(evidence, prior, len(seen))
    else:
        start = Posterior.of_prior(prior, len(seen))
        found = head.update(evidence, start.put(torch.as_tensor(known), model.posterior.of(before)), prior, forget)
    posterior = model.posterior.put(before, found.of(torch.as_tensor(known, dtype=torch.int64)))
    fresh = np.setdiff1d(np.arange(len(ids)), known)
    n_comparisons = model.n_comparisons.copy()
    n_comparisons[before.numpy()] = count[known] + (0 if anew else n_comparisons[before.numpy()])
    return Adapted(
        (*model.user_ids, *(ids[i] for i in fresh)),
        posterior.concat(found.of(torch.as_tensor(fresh))),
        np.concatenate([n_comparisons, count[fresh]]),
    )
