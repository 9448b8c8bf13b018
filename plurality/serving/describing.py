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
        return row | {"words": f"{user_id} has answered nothing."}
    shown = model.users.drop("user_id").row(0, named=True)
    comparisons, uncertainty = int(shown.pop("n_comparisons")), float(shown.pop("uncertainty"))
    middle, spread = model.population, _spread(learner)
    words = [
        f"{user_id} gave {len(said)} answers here; {comparisons} comparisons are known of them, with those that the "
        "model was fitted on.",
        f"What is not known of their taste has shrunk to {uncertainty:.0%} of what is not known of a new user."
        if model.head.n_codes
        else "The model has one reward for all users.",
    ]
    for name, value in shown.items():
        away = (value - middle.get(name, 0.0)) / spread.get(name, 1.0)
        if abs(away) >= FAR:
            side = "above" if away > 0 else "below"
            words.append(f"{name} is {abs(away):.1f} standard deviations {side} the population's.")
    if about:
        words.append("They said of themselves: " + ", ".join(f"{k}: {v}" for k, v in sorted(about.items())) + ".")
    return row | {"comparisons": comparisons, "uncertainty": uncertainty, "code": shown, "words": " ".join(words)}


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
        why = f"Drawn at random from the {chosen.left} questions that are left."
    else:
        why = (
            f"Of the {chosen.left} questions that are left, your answer to this one is expected to tell most about "
            f"what you like: {chosen.bits:.2f} bits; one at random would tell {chosen.mean_bits:.2f}."
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
