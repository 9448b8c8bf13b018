"""A few fixed texts whose vectors are stored with what an encoder made, to tell whether another one makes the same.

Vectors of one model differ between machines and servers: bfloat16 keeps 8 bits, so that a layer rounds by 2⁻⁹ of
what it adds, and batches of another size sum in another order. That moves a vector by some hundredths of the distances
between texts. Another model, pooling, normalisation or end that is cut moves it by about one such distance. The limit
lies between.

The last two texts are of two halves that have nothing in common, the last one longer than the limit of many models, so
that it shows which end was cut and whether any was.
"""

from pathlib import Path

import numpy as np

from plurality.encoders import storage
from plurality.encoders.protocol import Encoder, Prompt, Vectors
from plurality.errors import InputError

__all__ = ["TOLERANCE", "check_probe", "probe_distance", "probe_texts"]

TOLERANCE = 0.15  # of the distances between the probe's texts
LONGEST = 600  # words; what a longer text costs a large model on a CPU is felt
TEA = [
    "boil",
    "the",
    "water",
    "and",
    "let",
    "the",
    "green",
    "leaves",
    "rest",
    "for",
    "three",
    "minutes",
    "before",
    "you",
    "pour",
]
LAW = [
    "parliament",
    "shall",
    "vote",
    "again",
    "when",
    "the",
    "court",
    "finds",
    "that",
    "an",
    "old",
    "treaty",
    "was",
    "broken",
]


def probe_texts(max_length: int | None) -> tuple[list[Prompt], list[str]]:
    """Prompts and completions of the probe, (8,) each: the same for the same limit.

    max_length    tokens that the encoder reads of a text; None: not known
    """
    words = min(max(2 * (max_length or LONGEST), 64), LONGEST)
    pairs = [
        ("What is the capital of France?", "Paris."),
        ("How do I boil an egg?", "Put it into boiling water for seven minutes, then into cold water."),
        ("Write a line of Python.", "print(sum(x * x for x in range(10)))"),
        ("Darf ich hier parken?", "Nein, das Parken ist in der Größe nicht erlaubt. 你好 🙂"),
        ("", "I am sorry, but I cannot help with that."),
        ("Should taxes rise?", "Some say yes, since hospitals and schools need money; others say no."),
        ("Tell me more.", _two_halves(40)),
        ("Tell me all of it.", _two_halves(words)),
    ]
    prompts: list[Prompt] = [prompt for prompt, _ in pairs]
    return prompts, [completion for _, completion in pairs]


def probed(encoder: Encoder) -> Vectors:
    """Vectors (8, d) of the probe's texts.

    encoder    what embeds them
    """
    return encoder.encode(*probe_texts(encoder.describe().get("max_length")))


def probe_of_file(folder: Path) -> Vectors | None:
    """The probe that a saved encoder records; None if it is of an earlier version, or fitted here.

    folder    what `save` wrote
    """
    if not (folder / storage.TENSORS).is_file():
        return None
    return storage.read_tensors(folder / storage.TENSORS).get("probe")


def probe_distance(one: Vectors, other: Vectors) -> float:
    """max_i |a_i − b_i| / √(mean_i |b_i − b̄|²): the largest distance of a text, in units of those between texts.

    one      (k, d) vectors a
    other    (k, d) vectors b of the same texts, which set the unit

    Infinite where the shapes differ.

    >>> import numpy as np
    >>> probe_distance(np.eye(2) + 0.5, np.eye(2))
    1.0
    """
    if one.shape != other.shape:
        return float("inf")
    a, b = one.astype(np.float64), other.astype(np.float64)
    unit = np.sqrt(np.mean(np.sum((b - b.mean(0)) ** 2, axis=1)))
    return float(np.max(np.linalg.norm(a - b, axis=1)) / max(unit, 1e-12))


def check_probe(found: Vectors, stored: Vectors, place: str) -> None:
    """Raise InputError where the vectors of a probe are not those that are stored.

    found     (k, d) as they are now
    stored    (k, d) as they were
    place     what gave them, for the message
    """
    distance = probe_distance(found, stored)
    if distance > TOLERANCE:
        raise InputError(
            f"{place}: embeds the fixed texts of the probe otherwise than what made these embeddings did "
            f"({_how(found, stored, distance)}); serve the same model, pooling, truncation and normalisation"
        )


def _how(found: Vectors, stored: Vectors, distance: float) -> str:
    """What differs, as far as the vectors tell."""
    if found.shape != stored.shape:
        return f"width {found.shape[1]}, not {stored.shape[1]}"
    unit = stored / np.maximum(np.linalg.norm(stored, axis=1, keepdims=True), 1e-12)
    own = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    if probe_distance(own, unit) <= TOLERANCE:
        return "the directions agree and the lengths do not: a normalisation"
    if probe_distance(found[:-1], stored[:-1]) <= TOLERANCE:
        return "the short texts agree and the long one does not: a limit of tokens, or the end that is cut"
    return f"off by {distance:.2g} of the distances between texts, where rounding is below {TOLERANCE:g}"


def _two_halves(words: int) -> str:
    half = words // 2
    return " ".join([*(TEA * (half // len(TEA) + 1))[:half], *(LAW * (half // len(LAW) + 1))[:half]])
