"""A simulated population that chooses between texts, with its tastes known: what `make demo` runs on.

Answers to one prompt differ in eight traits at levels -1, 0, 1, each written with several paraphrases, so
that a bag of words sees the traits and no single word gives one away. A person has a hidden taste type plus
jitter, and prefers the first of two answers with probability σ(w · (t₁ − t₂)), w in log-odds per trait level.

Planted for an audit to find: about 15 % of people are of type "plain", who dislike the warmth and examples
that all others like, so one reward for all serves them badly. Older people are more often "careful",
younger ones "brisk", postgraduates and the few people of the islands "plain". Gender is unrelated to taste:
an honest audit finds nothing there. All people, places and associations are invented.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.special import softmax

from plurality.datasets.simulated import text_bank as bank
from plurality.errors import InputError
from plurality.io.atomic import whole_file
from plurality.io.paths import expanded
from plurality.reward.links import prob

__all__ = ["PlantedText", "simulate"]

TRAITS = ("brevity", "hedging", "warmth", "formality", "structure", "examples", "caution", "detail")

# log-odds per level of each trait, in the order of TRAITS; "plain" is the minority
TASTES = {
    "companion": (0.2, 0.2, 2.0, -1.0, 0.3, 1.8, 0.0, -0.6),
    "brisk": (1.2, -1.2, 1.7, -0.4, 0.4, 1.6, -0.4, 0.2),
    "careful": (0.0, 0.4, 1.7, 1.0, 0.3, 1.8, 1.3, 0.5),
    "plain": (0.8, -1.0, -1.6, 0.2, 0.4, -1.7, 0.6, 1.2),
}
MAJORITY_SHARES = (0.42, 0.32, 0.26)

DEMOGRAPHICS = {
    "age": {"18-29": 0.26, "30-44": 0.30, "45-59": 0.24, "60-74": 0.16, "75+": 0.04},
    "gender": {"woman": 0.48, "man": 0.46, "non-binary": 0.04, "prefer not to say": 0.02},
    "region": {"north": 0.34, "south": 0.28, "east": 0.20, "west": 0.14, "islands": 0.04},
    "education": {"secondary": 0.36, "vocational": 0.26, "bachelor": 0.24, "postgraduate": 0.14},
}
# (column, value) -> log-odds added to each type, in the order of TASTES
ASSOCIATIONS = {
    ("age", "18-29"): (0.0, 0.8, -0.6, 0.0),
    ("age", "60-74"): (0.0, -0.5, 0.9, 0.0),
    ("age", "75+"): (0.0, -0.6, 1.4, 0.0),
    ("region", "islands"): (0.0, 0.0, 0.0, 1.5),
    ("education", "secondary"): (0.5, 0.0, 0.0, -0.5),
    ("education", "postgraduate"): (-0.4, 0.0, 0.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class PlantedText:
    """Simulated comparisons and the truth behind them.

    Rows of `weights` (n_users, n_traits; log-odds per level), `types` and `careless` (n_users,) are those
    of `users`. A careless person answers at random: their weights are 0, their type is kept.

    comparisons    rows of user_id, prompt, chosen, rejected
    items          a row a text, with its traits
    traits         names of what texts have more or less of
    """

    comparisons: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    traits: tuple[str, ...]
    weights: np.ndarray
    types: np.ndarray
    careless: np.ndarray

    def truth(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the true P(chosen preferred), σ(w · (t_chosen − t_rejected)), (N,), of the rows of `frame`.

        Raises InputError where a user, or an answer to a prompt, is not part of this population.
        """
        missing = {"user_id", "prompt", "chosen", "rejected"} - set(frame.columns)
        if missing:
            raise InputError(f"truth: column {min(missing)} is missing; pass the columns of `comparisons`")
        chosen, rejected = (self._trait_values(frame, side) for side in ("chosen", "rejected"))
        users = self.users.select("user_id").with_row_index("row")
        row = frame.select("user_id").join(users, on="user_id", how="left", maintain_order="left")["row"]
        _raise_for_missing(row.is_null().to_numpy(), "user_id")
        gap = ((chosen - rejected) * self.weights[row.to_numpy()]).sum(axis=1)
        return prob(torch.from_numpy(gap)).numpy()

    def save(self, folder: str | Path) -> None:
        """Write `comparisons.parquet` and `users.parquet` into `folder`, each of them whole or not at all."""
        folder = expanded(folder)
        for name, frame in (("comparisons", self.comparisons), ("users", self.users)):
            with whole_file(folder / f"{name}.parquet") as new:
                frame.write_parquet(new)

    def _trait_values(self, frame: pl.DataFrame, side: str) -> np.ndarray:
        asked = frame.select("prompt", completion=side)
        found = asked.join(self.items, on=["prompt", "completion"], how="left", maintain_order="left")
        _raise_for_missing(found[self.traits[0]].is_null().to_numpy(), side)
        return found.select(self.traits).to_numpy()


def simulate(
    n_users: int = 300,
    n_comparisons: int = 60,
    n_prompts: int = 200,
    responses_per_prompt: int = 6,
    minority: float = 0.15,
    careless: float = 0.05,
    jitter: float = 0.35,
    seed: int = 0,
) -> PlantedText:
    """Simulate people who compare answers to everyday questions: P(first preferred) = σ(w · (t₁ − t₂)).

    Each of `n_users` people makes `n_comparisons` different comparisons, each of two answers to one prompt.
    `minority` and `careless` are expected shares of people; `jitter` is the standard deviation (log-odds) of
    a person's weights around their type. Prompts and answers depend on `seed`, `n_prompts` and
    `responses_per_prompt` alone. Raises InputError where the numbers cannot be met.
    """
    pairs = n_prompts * responses_per_prompt * (responses_per_prompt - 1) // 2
    capacity = len(bank.TOPICS) * len(bank.QUESTIONS) * len(bank.CIRCUMSTANCES)
    for name, value, low, high in (
        ("n_users", n_users, 1, 100_000),
        ("n_prompts", n_prompts, 1, capacity),
        ("responses_per_prompt", responses_per_prompt, 2, 20),
        ("n_comparisons", n_comparisons, 1, pairs),
        ("minority", minority, 0.01, 0.99),
        ("careless", careless, 0, 1),
        ("jitter", jitter, 0, 10),
    ):
        if not low <= value <= high:
            raise InputError(f"simulate: {name} = {value} is outside [{low}, {high}]; choose a value inside")
    # streams of their own: more people or more choices leave the texts as they were
    item_rng, user_rng, choice_rng = np.random.default_rng(seed).spawn(3)
    items = _items(n_prompts, responses_per_prompt, item_rng)
    users = _users(n_users, user_rng)
    kind = _types(users, minority, user_rng)
    weights = np.array(list(TASTES.values()))[kind] + user_rng.normal(0, jitter, (n_users, len(TRAITS)))
    is_careless = user_rng.random(n_users) < careless
    weights[is_careless] = 0

    comparisons = _choices(items, users, weights, n_comparisons, choice_rng)
    return PlantedText(comparisons, users, items, TRAITS, weights, np.array(list(TASTES))[kind], is_careless)


def _raise_for_missing(missing: np.ndarray, column: str) -> None:
    if missing.any():
        place = f"row {missing.argmax()}, column {column}"
        raise InputError(f"truth: {place} is not part of this population; pass rows of its own comparisons")


def _users(n_users: int, rng: np.random.Generator) -> pl.DataFrame:
    users = pl.DataFrame({"user_id": [f"user-{number:04d}" for number in range(n_users)]})
    draws = {name: rng.choice(list(of), n_users, p=list(of.values())) for name, of in DEMOGRAPHICS.items()}
    return users.hstack(pl.DataFrame(draws))


def _types(users: pl.DataFrame, minority: float, rng: np.random.Generator) -> np.ndarray:
    """Draw types from softmax(intercepts + associations), intercepts set so that its mean is the shares."""
    shares = np.array([*(share * (1 - minority) for share in MAJORITY_SHARES), minority])
    logits = np.zeros((users.height, len(shares)))
    for (column, value), shift in ASSOCIATIONS.items():
        logits += np.outer(users[column].to_numpy() == value, shift)
    for _ in range(50):
        logits += np.log(shares / softmax(logits, axis=1).mean(axis=0))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    return (rng.random((users.height, 1)) > cumulative[:, :-1]).sum(axis=1)


def _choices(
    items: pl.DataFrame, users: pl.DataFrame, weights: np.ndarray, each: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Let every user choose `each` times, never twice between the same two answers."""
    prompts = items["prompt"].unique(maintain_order=True)
    responses = items.height // len(prompts)
    left, right = np.triu_indices(responses, 1)
    drawn = [rng.choice(len(prompts) * len(left), each, replace=False) for _ in range(users.height)]
    prompt, pair = np.divmod(np.concatenate(drawn), len(left))
    first, second = prompt * responses + left[pair], prompt * responses + right[pair]

    user = np.repeat(np.arange(users.height), each)
    level = items.select(TRAITS).to_numpy()
    gap = ((level[first] - level[second]) * weights[user]).sum(axis=1)
    # logistic noise below the gap has probability σ(gap)
    chosen, rejected = np.where(rng.logistic(size=len(gap)) < gap, (first, second), (second, first))
    group_ids = pl.Series([f"prompt-{number:04d}" for number in range(len(prompts))])
    return pl.DataFrame(
        {
            "user_id": users["user_id"].gather(user),
            "prompt": prompts.gather(prompt),
            "chosen": items["completion"].gather(chosen),
            "rejected": items["completion"].gather(rejected),
            "group_id": group_ids.gather(prompt),
        }
    )


def _items(n_prompts: int, responses: int, rng: np.random.Generator) -> pl.DataFrame:
    questions = list(product(bank.TOPICS, bank.QUESTIONS, bank.CIRCUMSTANCES))
    rows: dict[tuple[str, str], np.ndarray] = {}
    for number, row in enumerate(rng.permutation(len(questions))[:n_prompts], start=1):
        topic, question, circumstance = questions[row]
        prompt = f"{question.format(task=topic.task)} {circumstance}".strip()
        while len(rows) < number * responses:
            levels = rng.integers(-1, 2, len(TRAITS))
            rows[prompt, _answer(topic, dict(zip(TRAITS, levels.tolist(), strict=True)), rng)] = levels
    texts = pl.DataFrame(list(rows), schema=["prompt", "completion"], orient="row")
    return texts.hstack(pl.DataFrame(np.array(list(rows.values()), dtype=float), schema=list(TRAITS)))


def _answer(topic: bank.Topic, level: dict[str, int], rng: np.random.Generator) -> str:
    """Write one answer: opening, steps, example, detail, caution, closing, each as its trait's level asks."""
    paragraphs = [
        " ".join(_opening(topic, level, rng)),
        ("\n" if level["structure"] > 0 else " ").join(_steps(topic, level, rng)),
        " ".join(_extras(topic, level, rng)),
        " ".join(_closing(level, rng)),
    ]
    text = (" " if level["structure"] < 0 else "\n\n").join(part for part in paragraphs if part)
    if level["formality"] < 0:
        for long, short in bank.CONTRACTIONS:
            text = text.replace(long, short)
    return text


def _opening(topic: bank.Topic, level: dict[str, int], rng: np.random.Generator) -> list[str]:
    register = level["formality"]
    sentences = []
    if level["warmth"] >= 0:
        sentences.append(_pick(bank.WARM_OPENINGS[register], rng))
    if level["brevity"] < 1 or register:
        sentences.append(_pick(bank.OPENINGS[register], rng).format(task=topic.task))
    if level["hedging"]:
        sentences.append(_pick(bank.TENTATIVE if level["hedging"] > 0 else bank.CERTAIN, rng))
    return sentences


def _steps(topic: bank.Topic, level: dict[str, int], rng: np.random.Generator) -> list[str]:
    count = {1: 2, 0: 3, -1: 5}[level["brevity"]]
    kept = [topic.steps[place] for place in np.sort(rng.permutation(len(topic.steps))[:count])]
    leads = rng.permutation([*bank.LEADS[level["formality"], level["hedging"]], "{}"])
    steps = [str(lead).format(step) for lead, step in zip(leads, kept, strict=False)]
    if level["structure"] > 0:
        bullet = _pick(bank.BULLETS, rng)
        bullets = [bullet.format(number=n, step=_capital(step) + ".") for n, step in enumerate(steps, start=1)]
        return [_pick(bank.HEADERS, rng), *bullets]
    if level["structure"] < 0:
        links = ["", *rng.permutation([*bank.CONNECTIVES[level["formality"]], ""])]
        return _linked(links, steps)
    announcement = _pick(bank.ANNOUNCEMENTS, rng).format(count={2: "two", 3: "three", 5: "five"}[count])
    return [announcement, *_linked([*bank.ORDINALS[: count - 1], bank.ORDINALS[-1]], steps)]


def _linked(links: list[str], steps: list[str]) -> list[str]:
    sentences = []
    for link, step in zip(links, steps, strict=False):
        inner = step if not link or step.startswith("I ") else step[0].lower() + step[1:]
        sentences.append(_capital(f"{link} {inner}.".strip()))
    return sentences


def _extras(topic: bank.Topic, level: dict[str, int], rng: np.random.Generator) -> list[str]:
    """Give one sentence for a trait at level 0 and a second one at level 1."""
    sentences = []
    for trait, leads, clause, more in (
        ("examples", bank.EXAMPLE_LEADS, topic.example, bank.ANALOGIES),
        ("detail", bank.DETAIL_LEADS, topic.detail, bank.PRINCIPLES),
        ("caution", bank.CAUTION_LEADS, topic.risk, bank.REFERRALS),
    ):
        if level[trait] >= 0:
            sentences.append(f"{_pick(leads, rng)} {clause}.")
        if level[trait] > 0:
            sentences.append(_pick(more, rng))
    return sentences


def _closing(level: dict[str, int], rng: np.random.Generator) -> list[str]:
    sentences = []
    if level["brevity"] < 0:
        sentences = [*rng.permutation(bank.ELABORATIONS)[:2], _pick(bank.SUMMARIES, rng)]
    if level["warmth"] > 0:
        sentences.append(_pick(bank.WARM_CLOSINGS[level["formality"]], rng))
    return sentences


def _pick(sentences: tuple[str, ...], rng: np.random.Generator) -> str:
    return sentences[rng.integers(len(sentences))]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
