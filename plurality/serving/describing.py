"""What is known of a user, and why a question is asked, in words."""

from typing import Any

import numpy as np

from plurality.serving.learning import Learner
from plurality.serving.questions import Chosen, Questions
from plurality.serving.study import Study

FAR = 0.5  # standard deviations of the population from which a direction is worth a word


def user(learner: Learner, user_id: str) -> dict[str, Any] | None:
    """What is known of a user; None where nothing is.

    learner    beliefs
    user_id    the user
    """
    model, state = learner.of([user_id]), learner.state
    said = state.said([user_id]) if state else []
    about = state.about([user_id]).get(user_id, {}) if state else {}
    if user_id not in model.user_ids and not about:
        return None
    row: dict[str, Any] = {"user_id": user_id, "answers": len(said), "about": about}
    if user_id not in model.user_ids:
        return row | {"words": f"{user_id} has answered nothing that compares."}
    shown = model.users.drop("user_id").row(0, named=True)
    comparisons, uncertainty = int(shown.pop("n_comparisons")), float(shown.pop("uncertainty"))
    middle, spread = model.population, _spread(learner)
    words = [
        f"{user_id} gave {_count(len(said), 'answer')} here; what is known of them is from "
        f"{_count(comparisons, 'comparison')}, with those that the model was fitted on.",
        _uncertainty(uncertainty) if model.head.n_codes else "The model has one reward for all users.",
    ]
    for name, value in shown.items():
        away = (value - middle.get(name, 0.0)) / spread.get(name, 1.0)
        if abs(away) >= FAR:
            side = "above" if away > 0 else "below"
            words.append(f"{name} is {abs(away):.1f} standard deviations {side} the population's.")
    if about:
        words.append("They said of themselves: " + ", ".join(f"{k}: {v}" for k, v in sorted(about.items())) + ".")
    return row | {"comparisons": comparisons, "uncertainty": uncertainty, "code": shown, "words": " ".join(words)}


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _left(n: int) -> str:
    return "the one question that is left" if n == 1 else f"the {n:,} questions that are left"


def _uncertainty(share: float) -> str:
    if round(share, 2) >= 1:
        return "They have told as good as nothing of their taste yet; their reward is that of a new user."
    return f"What is not known of their taste has shrunk to {share:.0%} of what is not known of a new user."


def _bits(bits: float) -> str:
    return f"{bits:.2f} bits" if bits >= 0.005 else "less than 0.01 bits"


def _spread(learner: Learner) -> dict[str, float]:
    """Standard deviation of what is shown of codes, over the users that the model was fitted on."""
    shown = learner.model.head.show(learner.model.posterior.codes)
    found = {name: float(np.std(values.double().numpy())) for name, values in shown.items()}
    return {name: sd if sd > 0 else 1.0 for name, sd in found.items()}


def question(
    questions: Questions, chosen: Chosen | None, done: int, study: Study | None, how: str = "information"
) -> dict[str, Any]:
    """A question as it is sent, with why it is asked, and how far the user is.

    questions    all of them
    chosen       the one to ask; None: all were asked
    done         how many the user has answered
    study        whose questions they are, if a study's
    how          how it was chosen
    """
    total = None if study is None else min(study.answers, len(questions.questions))
    progress = {"answered": done, "of": total}
    if chosen is None or (total is not None and done >= total):
        return {"question": None, "progress": progress, "why": "Nothing is left to ask."}
    asked = questions.questions[chosen.index]
    if how == "random":
        why = f"Drawn at random from {_left(chosen.left)}."
    else:
        why = (
            f"Of {_left(chosen.left)}, your answer to this one is expected to tell most about what you like: "
            f"{_bits(chosen.bits)}; one at random would tell {_bits(chosen.mean_bits)}."
        )
    sent = {"index": chosen.index, "prompt": asked.prompt, "completions": list(asked.completions)}
    return {
        "question": sent,
        "kind": "rating" if len(asked.completions) == 1 else "choice",
        "bits": chosen.bits,
        "mean_bits": chosen.mean_bits,
        "progress": progress,
        "why": why,
    }
