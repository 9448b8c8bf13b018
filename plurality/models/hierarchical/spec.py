"""Hierarchical Bayes: users' tastes are normal around a mean that demographics set, all of it with its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from plurality.data.comparisons import Comparisons
from plurality.data.demographics import Factor, describe
from plurality.errors import InputError
from plurality.fitting.optimisers import threads_for
from plurality.fitting.tuning import FitOptions, standardise
from plurality.io.progress import Bar, stages
from plurality.models.family import Spec
from plurality.models.hierarchical import empirical_bayes as empirical
from plurality.models.hierarchical.empirical_bayes import HierarchicalProblem
from plurality.models.hierarchical.estimates import PopulationEstimate
from plurality.models.hierarchical.head import HierarchicalHead
from plurality.models.hierarchical.reduction import Reduction, levels_as_users, reduced, whole
from plurality.models.hierarchical.zero_shot import DemographicsGain, log_likelihood, users_apart
from plurality.models.low_rank import LowRank
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.posterior import Posterior

INFERENCE = ("empirical", "nuts", "svi")
FEW = 16  # dimensions of an embedding that are all kept
USES = {"draws": "nuts", "chains": "nuts", "steps": "svi"}
QUICK = 1e-5  # tolerance of the fits that held-out users are predicted by
ASKED = 40_000  # comparisons, beyond which only some users are asked whether demographics help


@dataclass(frozen=True)
class Hierarchical(Spec):
    """u(x, z) = ⟨φ(x), z⟩, z_user ~ N(μ + B·demographics, Σ), P(first ≻ second) = σ(u(x₁, z) − u(x₂, z)).

    by           columns of the users table; None takes every usable one
    dimensions   width of φ; None keeps a narrow embedding whole and has held-out items choose for a wide one
    inference    "empirical" (Bayes; variational EM), "nuts" (PyMC's model by NumPyro's NUTS), "svi" (NumPyro)
    draws, chains   of NUTS after as many steps of warm-up, 1,000 and 2 unless given; `steps` of SVI, 5,000
    folds        parts that users are dealt into to ask whether demographics help; 0 does not ask
    factors      what the fit learned of the columns; filled in by `fit`, not to be given
    Prior: μ ~ N(0, Λ⁻¹), rows of B of factor f ~ N(0, τ_f² Σ), τ_f ~ N⁺(0, 1), Σ = diag(s) R diag(s), s ~ N⁺(0, 3/C),
    R ~ LKJ(2); empirical Bayes has an inverse Wishart and a gamma that weigh as one user and one coefficient.
    Source: Gelman & Hill 2006, ch. 13; Rossi, Allenby & McCulloch 2005, ch. 5 (hierarchical logit with covariates).
    """

    by: tuple[str, ...] | None = None
    dimensions: int | None = None
    inference: str = "empirical"
    draws: int | None = None
    chains: int | None = None
    steps: int | None = None
    folds: int = 3
    factors: tuple[Any, ...] = ()

    name: ClassVar[str] = "hierarchical"

    def __post_init__(self) -> None:
        if self.inference not in INFERENCE:
            raise InputError(
                f"hierarchical: inference {self.inference!r} is unknown; choose one of {', '.join(INFERENCE)}"
            )
        for setting, user in USES.items():
            value = {"draws": self.draws, "chains": self.chains, "steps": self.steps}[setting]
            if value is not None and self.inference != user:
                raise InputError(f"hierarchical: {setting} is of inference='{user}' alone; leave it out")
            if value is not None and value < 1:
                raise InputError(f"hierarchical: {setting} {value} must be 1 or more")
        if self.chains == 1:
            raise InputError("hierarchical: one chain cannot show whether draws mix; take 2 chains or more")
        if self.dimensions is not None and self.dimensions < 1:
            raise InputError(f"hierarchical: dimensions {self.dimensions} must be 1 or more")
        if self.folds < 0 or self.folds == 1:
            raise InputError(f"hierarchical: folds {self.folds} must be 0, or 2 or more")
        if self.by is not None and not self.by:
            raise InputError("hierarchical: by= names no column; give some, or leave it out to take all usable ones")

    def check(self, data: Comparisons) -> None:
        describe(data.users[data.present], self.by, source=data.source)
        if (self.dimensions or 0) > data.dim:
            raise InputError(
                f"hierarchical: {self.dimensions} dimensions are more than the {data.dim} of the embeddings; give fewer"
            )

    def head(self, width: int, generator: torch.Generator) -> HierarchicalHead:
        """The torch module for embeddings of this width."""
        return HierarchicalHead(width, self.dimensions or width, [Factor(*f) for f in self.factors])

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        part = compact(data)
        with threads_for(len(data) * 64.0), stages("fit", 2 + self.folds, show=run.progress) as bar:
            bar("directions")
            factors = describe(part.users, self.by, source=data.source)
            columns = tuple(factor.column for factor in factors)
            reduction = self._reduce(part, factors, run)
            problem = reduction.problem(part, factors)
            bar(f"population, by {self.inference}")
            found = self._infer(problem, reduction.spread, run).worth(reduction.worth)
            report = {
                **found.describe(factors, problem),
                "demographics": self._demographics(part, columns, reduction.ranks, run, bar),
            }
        chosen: dict[str, Any] = {"by": columns, "dimensions": len(reduction.directions), "factors": factors}
        head = replace(self, **chosen).head(data.dim, torch.Generator())
        standardise(head, part)
        head.project(reduction.directions)
        head.effects.copy_(found.effects)
        return Fitted(
            head.requires_grad_(False).eval(), found.prior, _all_users(found, part, data), _trace(found), chosen, report
        )

    def sample(self, data: Comparisons, *, seed: int = 0, progress: bool = False) -> Any:
        """Draws by NUTS of the model on these comparisons: groups posterior, sample_stats, observed_data.

        An arviz.InferenceData, or with ArviZ 1 an xarray.DataTree.

        Variables mu (C,), effects (P, C), scale (C,), correlation (C, C), ratio (F,), z (user, C). Raises InputError as
        `fit` does; warns (InputWarning) where R-hat, effective sample size or divergences say that draws are not to be
        relied on.

        data        comparisons
        seed        makes the result the same again
        progress    show a progress bar
        """
        from plurality.models.hierarchical import pymc_model

        part = compact(self.ready(data))
        factors = describe(part.users, self.by, source=data.source)
        problem = self._reduce(part, factors, FitOptions(seed)).problem(part, factors)
        return pymc_model.sample(
            problem, draws=self.draws or 1000, chains=self.chains or 2, seed=seed, progress=progress,
            names=pymc_model.CoordinateNames.of(factors, part.users["user_id"].to_list()),
        )  # fmt: skip

    def _reduce(
        self, data: Comparisons, factors: Sequence[Factor], run: FitOptions, ranks: tuple[int, int] | None = None
    ) -> Reduction:
        """Directions of a wide embedding: numbers of those of levels and of users are chosen unless given."""
        if data.dim <= (self.dimensions or FEW):
            return whole(data)
        by_level: Fitted | None
        if ranks is None:
            by_level = _rewards_of(levels_as_users(data, factors), None, run)
            own = None if self.dimensions is None else max(0, self.dimensions - by_level.head.n_codes - 1)
        else:
            by_level = _rewards_of(levels_as_users(data, factors), ranks[0], run) if ranks[0] else None
            own = ranks[1]
        return reduced(data, _rewards_of(data, own, run), by_level, self.dimensions or FEW)

    def _infer(self, problem: HierarchicalProblem, spread: float, run: FitOptions) -> PopulationEstimate:
        if self.inference == "empirical":
            return PopulationEstimate.of(empirical.fit(problem, spread=spread))
        if self.inference == "svi":
            from plurality.models.hierarchical import svi

            return svi.fit(problem, steps=self.steps or 5000, seed=run.seed)
        from plurality.models.hierarchical import pymc_model

        draws = pymc_model.sample(
            problem, draws=self.draws or 1000, chains=self.chains or 2, seed=run.seed, progress=run.progress
        )
        return pymc_model.found(draws, problem)

    def _demographics(
        self, data: Comparisons, columns: Sequence[str], ranks: tuple[int, int], run: FitOptions, bar: Bar
    ) -> dict[str, Any]:
        """Whether demographics help: the gain on users held out, each part of them in turn.

        Directions are found anew without them; how many is taken from the fit on all users.
        """
        if not self.folds or not run.diagnostics:
            return {"verdict": f"not asked, as {'diagnostics=False' if self.folds else 'folds=0'}"}
        fold = users_apart(data, self.folds, run.seed)
        share = min(1.0, ASKED / len(data))
        asked = users_apart(data, 1000, run.seed + 1) < 1000 * share
        nats, count = np.zeros((2, data.users.height))
        for k in range(self.folds):
            bar(f"users held out, part {k + 1} of {self.folds}")
            train, test = (data.take((asked & mask)[data.user]) for mask in (fold != k, fold == k))
            if len(train) and len(test):
                nats += self._gain(compact(train), test, columns, ranks, run)
                count += np.bincount(test.user, test.weight, len(count))
        return DemographicsGain(nats, count).answer()

    def _gain(
        self, train: Comparisons, test: Comparisons, columns: Sequence[str], ranks: tuple[int, int], run: FitOptions
    ) -> np.ndarray:
        """Nats that demographics gain on the comparisons of users not trained on, in sum for each: (U,)."""
        try:
            factors = describe(train.users.select("user_id", *columns), None)
        except InputError:  # too few users are left to tell apart
            return np.zeros(test.users.height)
        reduction = self._reduce(train, factors, run, ranks)
        told, blind = reduction.problem(train, factors), reduction.problem(test, factors)
        rows = replace(blind.rows, difference=blind.rows.difference * reduction.worth)
        nats = [
            log_likelihood(empirical.fit(population, spread=reduction.spread, tol=QUICK), rows, known)
            for population, known in ((told, blind.design), (told.without_demographics(), blind.design[:, :0]))
        ]
        return np.bincount(test.user, (nats[0] - nats[1]).numpy(), test.users.height)


def _rewards_of(data: Comparisons, rank: int | None, run: FitOptions) -> Fitted:
    return LowRank(weights="deviations", rank=rank).learn(data, run)


def compact(data: Comparisons) -> Comparisons:
    """Users with comparisons alone, in the order of their first one, and equal comparisons as one of their weight.

    Draws then depend on neither names nor the order of users, and a weight of 3 is the row three times to the bit.
    """
    _, first = np.unique(data.user, return_index=True)
    present = data.present[np.argsort(first)]
    place = np.empty(data.users.height, dtype=np.int64)
    place[present] = np.arange(len(present))
    data = replace(data, user=place[data.user], users=data.users[present])
    columns = np.stack([data.first, data.second, data.user, data.label.view(np.int64), data.group.view(np.int64)])
    fresh = np.r_[True, (columns[:, 1:] != columns[:, :-1]).any(0)]
    merged = data.take(fresh)
    return replace(merged, weight=np.add.reduceat(data.weight, np.flatnonzero(fresh)))


def _all_users(found: PopulationEstimate, part: Comparisons, data: Comparisons) -> Posterior:
    """The posterior at the rows of `data.users`; those without comparisons have the population's, told nothing."""
    rows = torch.as_tensor(data.user_rows(part.users["user_id"].to_list()))
    nothing = Posterior.of_prior(found.prior, data.users.height)
    return Posterior(
        nothing.codes.clone().index_copy_(0, rows, found.posterior.codes),
        nothing.covariance.clone().index_copy_(0, rows, found.posterior.covariance),
    )


def _trace(found: PopulationEstimate) -> Trace:
    trace = Trace()
    for i, bound in enumerate(found.report.get("bounds", [])):
        trace.add(f"EM {i}", 0.0, -bound)
    return trace
