"""What every model of this package obeys, as checks that a family written elsewhere can be put to.

Names in the list that `check_model` returns are the keys of `CHECKS`; tolerances stand beside them in the code.
"""

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.data.keys import text_keys
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import families
from plurality.models.family import Spec
from plurality.reward.heads import Head
from plurality.reward.links import nll
from plurality.reward.reward_model import RewardModel, load
from plurality.reward.tensors import Tensors

__all__ = ["CheckedFit", "check_model", "simulated_data"]

Numbers = NDArray[np.floating] | torch.Tensor
USERS, EACH, WIDTH, PROMPTS = 12, 24, 6, 9


@dataclass(frozen=True)
class CheckedFit:
    """A spec, small planted data it is checked on, and its fit to them.

    spec     the family
    seed     of data and fit
    data     planted comparisons
    model    the fitted model
    """

    spec: Spec
    seed: int
    data: Comparisons
    model: RewardModel

    def fit(self, data: Comparisons) -> RewardModel:
        """The spec fitted to other data under the same seed, with no question asked beside the fit.

        data    comparisons
        """
        return self.spec.fit(data, seed=self.seed, diagnostics=False)


def check_model(spec: Spec, *, seed: int = 0) -> list[str]:
    """Put a family to every check on small planted data; return the names of those it passed.

    spec    settings of the family; a list that is checked covers each of its forms
    seed    of the planted data and of the fits

    Saving is left out for a family that `plurality.load` does not know. Raises AssertionError, one line that names
    the check and the difference found, at the first that fails.
    """
    data = simulated_data(seed)
    before = _global_state()
    head_can_be_built(spec, seed)
    case = CheckedFit(spec, seed, data, spec.fit(data, seed=seed))
    passed = []
    for name, check in CHECKS.items():
        if check is saving_loses_nothing and spec.name not in families():
            continue
        try:
            check(case)
        except (AssertionError, NotImplementedError) as error:
            raise AssertionError(f"{spec!r}: {name}: {error}") from None
        passed.append(name)
    if _global_state() != before:
        raise AssertionError(f"{spec!r}: global random state or default dtype was touched; draw from seed= alone")
    return [*passed, "no global state is touched"]


def simulated_data(seed: int) -> Comparisons:
    """Ideal-point users who compare items under a few prompts, whose embeddings are there too.

    seed    of the population and its answers
    """
    seen, _ = planted.pal(USERS, prototypes=2, width=WIDTH, preference=2, norm=2.0, seed=seed)
    data = seen.sample(EACH, seed=seed + 1).data
    prompts = np.random.default_rng(seed + 2).standard_normal((PROMPTS, WIDTH), dtype=np.float32)
    return replace(
        data,
        prompt=np.arange(len(data.items)) % len(data) % PROMPTS,  # both sides of a comparison share one
        prompt_keys=text_keys([f"prompt {q}" for q in range(PROMPTS)]),
        prompts=prompts,
    )


def head_can_be_built(spec: Spec, seed: int = 0) -> None:
    """The settings build a `Head` that has every method a head must have."""
    try:
        head: object = spec.head(WIDTH, torch.Generator().manual_seed(seed))
    except TypeError as error:  # an abstract class names the methods it lacks
        raise AssertionError(f"{spec!r}: the head cannot be built: {error}") from None
    if not isinstance(head, Head):
        raise AssertionError(f"{spec!r}: head() gives a {type(head).__name__}; make it a plurality.reward.heads.Head")


def head_keeps_its_shapes(case: CheckedFit) -> None:
    """Features, utilities, the penalty and what is shown of codes have the shapes that `Head` promises."""
    head, rows, codes = case.model.head, Tensors.of(case.data, case.model.head), case.model.posterior.codes
    with torch.no_grad():
        features = head.features(rows.items, rows.prompts)
        both = head.population(features, codes.float())
        one = head.utility(features, codes[:1].float().expand(len(features), -1))
        small, large = head.penalty(1.0), head.penalty(2.0)
    items, shape = len(rows.items), tuple(both.shape)
    _require(features.dim() == 2 and len(features) == items, f"features of {items} items: {tuple(features.shape)}")
    _require(shape == (len(codes), items), f"population gives {shape}, not a row a user and a column an item")
    _close(both[0], one, 1e-4 * (1 + float(both.abs().max())), "population is not utility, user by user")
    _require(small.dim() == 0 and bool(torch.isfinite(small)), f"the penalty is {small}, not a finite scalar")
    _require(bool(large >= small), f"the penalty falls from {small:.3g} to {large:.3g} as the decay rises")
    shown = head.show(codes)
    for name, value in shown.items():
        _require(tuple(value.shape) == (len(codes),), f"show gives {name!r} the shape {tuple(value.shape)}")
    taken = {"user_id", "n_comparisons", "uncertainty"} & shown.keys()
    _require(not taken, f"show gives a column that users have anyway: {', '.join(sorted(taken))}")


def spec_is_frozen(case: CheckedFit) -> None:
    """Settings cannot change after the fact, and one that does not exist is rejected."""
    for setting in fields(case.spec):
        try:
            setattr(case.spec, setting.name, 1)
        except FrozenInstanceError:
            continue
        raise AssertionError(f"setting {setting.name} can be changed; make the spec a frozen dataclass")
    try:
        type(case.spec)(no_such_setting=1)  # type: ignore[call-arg]
    except TypeError:
        return
    raise AssertionError("a setting that does not exist is accepted; TypeError is expected")


def sides_are_symmetric(case: CheckedFit) -> None:
    """Exchanging the sides of a comparison turns p into 1 − p."""
    p, q = case.model.prefer(case.data), case.model.prefer(case.data.swapped())
    _close(p, 1 - q, 1e-6, "p of exchanged sides is not 1 − p")


def gap_is_a_difference(case: CheckedFit) -> None:
    """The gap of a comparison is the difference of the two utilities that score a population."""
    data, model = case.data, case.model
    prompts = data.prompts[data.prompt] if model.head.uses_prompts and data.prompts is not None else None
    u = model.utility(data.items, data.users["user_id"].to_list(), prompts=prompts).astype(float)
    gap = u[data.user, data.first] - u[data.user, data.second]
    _close(model.gap(data), gap, 1e-4 * (1 + np.abs(u).max()), "gap is not the difference of utilities")  # float32


def rows_have_no_order(case: CheckedFit) -> None:
    """The order of rows changes predictions by rounding at most."""
    order = np.random.default_rng(case.seed).permutation(len(case.data))
    moved = case.fit(case.data.take(order))
    _close(case.model.prefer(case.data), moved.prefer(case.data), 1e-5, "rows in another order")


def users_have_no_order_or_names(case: CheckedFit) -> None:
    """Neither do the names of users nor their order in the users table."""
    order = np.random.default_rng(case.seed).permutation(USERS)
    moved = replace(case.data, users=case.data.users[order], user=np.argsort(order)[case.data.user])
    moved = moved.with_users([f"renamed {i}" for i in range(USERS)])
    _close(case.model.prefer(case.data), case.fit(moved).prefer(moved), 1e-4, "users renamed and reordered")


def weights_are_repetitions(case: CheckedFit) -> None:
    """A weight of 3 is the same as the row three times, but for what rounding does, as a nudge of 1e-6 shows."""
    data, rng = case.data, np.random.default_rng(case.seed)
    times = rng.integers(1, 4, len(data))
    weighted = case.fit(replace(data, weight=times.astype(float))).prefer(data)
    repeated = case.fit(data.take(np.repeat(np.arange(len(data)), times))).prefer(data)
    allowed = 1e-3
    if float(np.abs(weighted - repeated).max()) > allowed:  # rounding is worth a fit where it may matter
        nudged = case.fit(replace(data, weight=times * (1 + 1e-6 * rng.standard_normal(len(data))))).prefer(data)
        allowed += 3 * float(np.abs(weighted - nudged).max())
    _close(weighted, repeated, allowed, "weights against repeated rows")


def units_do_not_matter(case: CheckedFit) -> None:
    """Dimensions in units from 10⁻³ to 10⁴ leave how well labels are predicted to .02 nats: sizes made alike vary."""
    data = case.data
    units = replace(data, items=(data.items * np.logspace(-3, 4, WIDTH)).astype(np.float32))
    nats = [
        float(-np.log(np.where(data.label > 0.5, p, 1 - p)).mean())
        for p in (case.model.prefer(data), case.fit(units).prefer(units))
    ]
    _require(
        abs(nats[1] - nats[0]) <= 0.02,
        f"dimensions in other units: {nats[1]:.3f} nats for {nats[0]:.3f}; "
        "make the head Projected, or scale each dimension in standardise",
    )


def seed_decides_all(case: CheckedFit) -> None:
    """Same spec, data and seed, same bits."""
    again = case.fit(case.data)
    _same_bits(case.model, again, "a second fit with the same seed")


def saving_loses_nothing(case: CheckedFit) -> None:
    """What `load` returns predicts the same to the last bit."""
    with tempfile.TemporaryDirectory() as place:
        again = load(case.model.save_pretrained(Path(place) / "model"))
    _same_bits(case.model, again, "the model saved and loaded")
    _require(again.spec == case.model.spec, f"the spec came back as {again.spec!r}")
    _require(again.report == json.loads(json.dumps(case.model.report)), "the report came back changed")
    _require(again.user_ids == case.model.user_ids, "the users came back in another order")


def adapting_touches_no_other_user(case: CheckedFit) -> None:
    """Adapting adds users and leaves shared weights and other users' codes as they were, to the last bit."""
    model, data = case.model, case.data
    guests = data.with_users([f"guest {i}" for i in range(USERS)])
    both = model.adapt(guests)
    old = both.codes(list(model.user_ids))
    _require(torch.equal(old, model.posterior.codes), "codes of other users changed")
    for name, value in model.head.state_dict().items():
        _require(torch.equal(value, both.head.state_dict()[name]), f"shared weight {name} changed")
    anew = model.adapt(data, replace=True)
    _close(both.prefer(guests), anew.prefer(data), 1e-6, "a user inferred anew under another name")
    one = data.user_ids[0]
    alone = model.adapt(data.of_users([one]), replace=True)
    _close(alone.codes([one]), anew.codes([one]), 1e-4, "a user adapted alone or with others")


def answers_add_up(case: CheckedFit) -> None:
    """A new user's answers in two parts, in either order, say what they say at once: to .02 nats of their labels."""
    model, data = case.model, case.data.with_users([f"guest {i}" for i in range(USERS)])
    half = np.arange(len(data)) % 2 == 0
    parts = data.take(half), data.take(~half)
    nats = []
    for known in (model.adapt(data), model.adapt(parts[0]).adapt(parts[1]), model.adapt(parts[1]).adapt(parts[0])):
        p = known.prefer(data)
        nats.append(float(-np.log(np.where(data.label > 0.5, p, 1 - p)).mean()))
        _require(known.n_comparisons.sum() == model.n_comparisons.sum() + len(data), "comparisons are not counted up")
    off = max(abs(nats[0] - nats[1]), abs(nats[0] - nats[2]))
    _require(off <= 0.02, f"answers in two parts: {nats[1]:.3f} and {nats[2]:.3f} nats for {nats[0]:.3f} at once")


def unknown_users_get_the_population(case: CheckedFit) -> None:
    """An unknown user has the population's code, and uncertainty 1 where there are codes."""
    model = case.model
    code = model.codes(["an unknown user"], "population")
    _require(torch.equal(code[0], model.prior.mean), "an unknown user's code is not the prior's mean")
    nothing = Tensors.of(case.data.take(np.zeros(0, dtype=np.int64)), model.head).evidence(model.head)
    posterior = model.head.doubled().infer(nothing, model.prior, 1)
    _close(posterior.codes[0], model.prior.mean, 1e-9, "the posterior without comparisons is not at the prior's mean")
    if model.head.n_codes:
        _close(
            model.head.uncertainty(posterior, model.prior), np.ones(1), 1e-6, "uncertainty without comparisons is not 1"
        )


def gradients_are_right(case: CheckedFit) -> None:
    """Autograd of the summed nll agrees with central finite differences, in weights and codes (float64)."""
    head = copy.deepcopy(case.model.head).double().requires_grad_()
    rows = Tensors.of(case.data, head)
    codes = case.model.posterior.codes.clone().requires_grad_()
    wanted = {name: p for name, p in head.named_parameters() if p.requires_grad} | {"codes": codes}
    generator = torch.Generator().manual_seed(case.seed)
    for name, value in wanted.items():
        if value.numel() == 0:
            continue
        loss = nll(rows.log_odds(head, codes), rows.label).sum()
        (gradient,) = torch.autograd.grad(loss, value, allow_unused=True)
        gradient = torch.zeros_like(value) if gradient is None else gradient  # an encoder has no part in utilities
        direction = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        direction = direction / direction.norm()
        step, ends = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                value.add_(sign * step * direction)
                ends.append(float(nll(rows.log_odds(head, codes), rows.label).sum()))
                value.sub_(sign * step * direction)
        numeric, exact = (ends[0] - ends[1]) / (2 * step), float((gradient * direction).sum())
        _require(abs(numeric - exact) < 1e-5 * (1 + abs(exact)), f"{name}: autograd {exact:.9g}, numeric {numeric:.9g}")


def errors_name_the_remedy(case: CheckedFit) -> None:
    """Bad input is an InputError of one line that says what is wrong."""
    model, data = case.model, case.data
    strange = data.with_users([f"guest {i}" for i in range(USERS)])
    narrow = replace(data, items=data.items[:, :-1])
    empty = data.take(np.zeros(0, dtype=np.int64))
    if model.head.n_codes:  # or there is nothing to know of a user
        _raises(lambda: model.prefer(strange), "'guest 0'", "adapt", "population")
    _raises(lambda: model.prefer(narrow), str(WIDTH - 1), str(WIDTH))
    _raises(lambda: model.adapt(narrow), str(WIDTH - 1), str(WIDTH))
    _raises(lambda: case.fit(empty), "no comparison")
    _raises(lambda: model.adapt(empty), "no comparison")
    if model.head.uses_prompts:
        blind = replace(data, prompts=None)
        _raises(lambda: case.fit(blind), "prompts")
        _raises(lambda: model.prefer(blind), "prompts")
        _raises(lambda: model.utility(data.items), "prompts")


CHECKS: dict[str, Callable[[CheckedFit], None]] = {
    "the spec is frozen": spec_is_frozen,
    "the head keeps its shapes": head_keeps_its_shapes,
    "exchanged sides give 1 − p": sides_are_symmetric,
    "a gap is a difference of utilities": gap_is_a_difference,
    "rows have no order": rows_have_no_order,
    "users have no order and no names": users_have_no_order_or_names,
    "a weight of 3 is the row three times": weights_are_repetitions,
    "units do not matter": units_do_not_matter,
    "the same seed gives the same bits": seed_decides_all,
    "saving loses nothing": saving_loses_nothing,
    "adapting touches no other user": adapting_touches_no_other_user,
    "answers add up": answers_add_up,
    "an unknown user gets the population's code": unknown_users_get_the_population,
    "gradients agree with finite differences": gradients_are_right,
    "errors name the remedy": errors_name_the_remedy,
}


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(text)


def _close(a: Numbers, b: Numbers, tol: float, text: str) -> None:
    off = float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).max(initial=0.0))
    _require(off <= tol, f"{text}: differs by {off:.2g}, allowed is {tol:.2g}")  # NaN fails too


def _same_bits(a: RewardModel, b: RewardModel, text: str) -> None:
    for name, value in a.head.state_dict().items():
        _require(torch.equal(value, b.head.state_dict()[name]), f"{text}: {name} differs")
    pairs = (
        ("codes", a.posterior.codes, b.posterior.codes),
        ("covariance of codes", a.posterior.covariance, b.posterior.covariance),
        ("prior mean", a.prior.mean, b.prior.mean),
        ("prior precision", a.prior.precision, b.prior.precision),
    )
    for name, mine, other in pairs:
        _require(torch.equal(mine, other), f"{text}: {name} differs")


def _raises(call: Callable[[], object], *words: str) -> None:
    try:
        call()
    except InputError as error:
        text = str(error)
    else:
        raise AssertionError(f"nothing was raised where an InputError about {words[0]} is due")
    _require("\n" not in text, f"an error of several lines: {text!r}")
    missing = [word for word in words if word not in text]
    _require(not missing, f"the error does not mention {', '.join(missing)}: {text!r}")


def _global_state() -> tuple[object, ...]:
    legacy: Any = np.random.get_state()  # noqa: NPY002 - looked at, to see that it is not used
    return legacy[1].tobytes(), legacy[2], torch.get_rng_state().numpy().tobytes(), torch.get_default_dtype()
