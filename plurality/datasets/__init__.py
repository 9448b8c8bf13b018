"""Public data sets as comparisons, one file a set: `load("prism", "folder/")`; and simulators with known truth."""

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plurality.datasets._tools.frames import Frames
from plurality.errors import InputError, suggestion
from plurality.io.paths import expanded

if TYPE_CHECKING:
    from plurality.data.comparisons import Comparisons
    from plurality.encoders import Encoder, LsaSpec, TransformersSpec

NAMES = (
    "arena_140k",
    "chatbot_arena",
    "collective_alignment",
    "community_alignment",
    "d3code",
    "dices",
    "global_opinions",
    "helpsteer",
    "hh_rlhf",
    "llmfao",
    "multipref",
    "oasst1",
    "pareto",
    "personal_llm",
    "personal_reward_bench",
    "personalized_rewardbench",
    "pick_a_pic",
    "polis",
    "popquorn",
    "prism",
    "tldr",
    "ultrafeedback",
)

__all__ = ["NAMES", "Frames", "frames", "load", "loader", "options"]


def load(
    name: str,
    source: str | Path,
    *,
    encoder: "str | Path | LsaSpec | TransformersSpec | Encoder | None" = None,
    prompts: bool = False,
    embeddings: str | Path | None = None,
    **options: Any,
) -> "Comparisons":
    """A public data set, embedded: `frames` followed by `plurality.read`.

    `encoder` and `prompts` are those of `read`. Where items are not texts, as in pick_a_pic, `embeddings` is the .npy
    file to write their vectors to, which stays mapped. Raises InputError for an unknown set or option, or a bad file.

    name       one of `NAMES`
    source     file or folder in the published form, or owner/name on the Hugging Face hub
    options    settings of the set's own `frames`
    """
    from plurality.data.read import read

    made = frames(name, source, **options)
    if (embeddings is None) != (made.embeddings is None):
        raise InputError(
            f"{name}: items are rows of vectors; give vectors= and, as embeddings=, a .npy file to write them to"
            if embeddings is None
            else f"{name}: embeddings= is for items that are vectors; name an encoder, or give vectors= where it has it"
        )
    if made.embeddings is not None and embeddings is not None:
        return read(made.collect(), users=made.users, embeddings=made.embeddings(expanded(embeddings)))
    return read(made.collect(), users=made.users, encoder=encoder, prompts=prompts)


def frames(name: str, source: str | Path, **options: Any) -> Frames:
    """A public data set in the external format, from a local file or folder in the published form, or a hub id.

    `options` are the named arguments of the set's own `frames`. Raises InputError as `load` does.

    name      one of `NAMES`
    source    file or folder in the published form, or owner/name on the Hugging Face hub
    """
    made = loader(name)
    _check(name, made, options)
    result: Frames = made(source, **options)
    return result


def options(name: str) -> dict[str, inspect.Parameter]:
    """The options of a data set's loader: name -> parameter, with its default and type.

    name    one of `NAMES`
    """
    parameters = inspect.signature(loader(name), eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def loader(name: str) -> Callable[..., Frames]:
    """The function `frames(source, *, options)` of a data set. Raises InputError for an unknown name.

    name    one of `NAMES`
    """
    if name not in NAMES:
        raise InputError(f"data set {name!r} is unknown{suggestion(name, NAMES)}; choose {', '.join(NAMES)}")
    made: Callable[..., Frames] = import_module(f"plurality.datasets.{name}").frames
    return made


def _check(name: str, made: Callable[..., Frames], given: dict[str, Any]) -> None:
    known = options(name)
    alien = [option for option in given if option not in known]
    if alien:
        shown = ", ".join(f"{p.name}={p.default!r}" for p in known.values()) or "none"
        raise InputError(f"{name} has no option {', '.join(alien)}; its options are {shown}")
