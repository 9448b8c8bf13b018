"""README.md of a model's folder: what it is, of whom, what its controls say, and metadata for the Hugging Face hub.

The front matter is YAML whose values are JSON, which YAML contains, so that no YAML library is needed to write it.
A card names no user, and no count of fewer than `FEW` users.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from inspect import getdoc
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from plurality.analyses.audit.labels import CONTROLS
from plurality.analyses.audit.verdict import verdict
from plurality.reward.fitted import Parts
from plurality.reward.model_index import group_rows, model_index
from plurality.reward.settings import Settings

if TYPE_CHECKING:
    from plurality.analyses.audit.findings import Findings
    from plurality.evaluation.comparison_table import Comparison

CARD = "README.md"
FEW = 10  # users; a count below it may point at a person
TAGS = ("reward-model", "preference-learning", "pluralistic-alignment", "personalization")
PLAIN = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][A-Za-z0-9_-]{3,}", re.IGNORECASE)  # text that YAML reads as text
PYTHON = """```python
import plurality as pl8

model = pl8.load({place})
probability = model.prefer(data)  # P(first preferred) of each comparison of a pl8.read(...)
```"""


@dataclass(frozen=True)
class CardDetails:
    """What the author of a model card knows and the model does not.

    data          a sentence on the comparisons: which data set, whose, from when; None leaves it out
    license       identifier of the hub's list of licences, such as "apache-2.0"; None leaves it out
    comparison    result of `plurality.compare` with this family in it, whose controls the card then shows; None says
                  that they were not given
    audit         result of `plurality.audit` of this model's predictions, whose results by group then stand in the card
                  and in its `model-index`; None leaves them out
    """

    data: str | None = None
    license: str | None = None
    comparison: "Comparison | None" = None
    audit: "Findings | None" = None


class Place(NamedTuple):
    """Where a card will lie: the hub id it is loaded by (None: a local folder), and whether its user ids are hashed."""

    repo_id: str | None = None
    hashed: bool = False


def model_card(model: Parts, details: CardDetails | None = None, place: Place | None = None) -> str:
    """The text of README.md: front matter and Markdown.

    model      the model that the folder holds
    details    what only its author knows; None: nothing
    place      where it will lie; None: a local folder, with the user ids as they are
    """
    details, place = details or CardDetails(), place or Place()
    parts = [_front_matter(model, details, place), *_sections(model, details, place)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(model: Parts, details: CardDetails, place: Place) -> str:
    about = {} if model.encoder is None else model.encoder.describe()
    values: dict[str, Any] = {
        "library_name": "plurality",
        "license": details.license,
        "pipeline_tag": "text-classification",  # as reward models have it on the hub
        "tags": [*TAGS, model.spec.name],
        "base_model": about["name"] if about.get("kind") == "transformers" and about.get("revision") else None,
    }
    lines = []
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"- {_yaml(v)}" for v in value)]
        elif value is not None:
            lines.append(f"{key}: {_yaml(value)}")
    if details.audit is not None:
        name = place.repo_id or f"{type(model.spec).__name__} reward model"
        lines.append(f"model-index: {model_index(name, details.audit, FEW)}")
    return "\n".join(["---", *lines, "---"])


def _yaml(text: str) -> str:
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def _sections(model: Parts, details: CardDetails, place: Place) -> Iterator[str]:
    spec = type(model.spec)
    yield f"# {spec.__name__} reward model"
    yield (
        "A reward model that knows whose preference it predicts, fitted with "
        "plurality (`pip install plurality-rm`): P(first ≻ second | user)."
    )
    yield "## Model"
    yield _plain((getdoc(spec) or "").partition("\n\n")[0])
    yield "\n".join(f"- {line}" for line in _model_lines(model))
    yield "## Data"
    yield _plain(details.data or "Not described by the author of this card.")
    yield "\n".join(f"- {line}" for line in _user_lines(model))
    yield "## Does it help to know the user?"
    yield _controls(details.comparison)
    if details.audit is not None:
        yield "## Whom it serves"
        yield from _by_group(details.audit)
    yield "## What the files say of people"
    yield "\n".join(f"- {line}" for line in _privacy_lines(model, place))
    yield "## How to load it"
    yield PYTHON.format(place=json.dumps(place.repo_id or "path/to/this/folder"))
    yield (
        "Users it does not know are adapted to by `model.adapt(...)`, or get the population's reward by "
        '`unknown="population"`.'
    )


def _model_lines(model: Parts) -> Iterator[str]:
    yield f"family: `{model.spec.name}`"
    if settings := ", ".join(f"`{name}={value!r}`" for name, value in _settings(model.spec)):
        yield f"settings: {settings}"
    fitted = f", fitted in the first {model.directions}" if model.directions else ""
    yield f"width of the embeddings: {model.head.n_embedding}{fitted}"
    if model.item_correlation:
        yield f"correlation of a user's comparisons that share an item, beside the code: {model.item_correlation:g}"
    if model.encoder is None:
        yield "encoder: none, it was fitted on ready-made embeddings"
    else:
        about = model.encoder.describe()
        name = str(about.get("name", "")).replace("\\", "/")
        name = name if about.get("revision") else name.rpartition("/")[2]  # a path on a disk is private
        yield f"encoder: {_plain(str(about.get('kind', 'unknown')))} `{name}`, template `{about.get('template')}`"


def _settings(spec: Settings) -> Iterator[tuple[str, Any]]:
    """Settings that are not the default, without those that hold levels of demographics."""
    usual = {f.name: f.default for f in fields(spec)}
    for name, value in asdict(spec).items():
        items = value if isinstance(value, list | tuple) else (value,)
        if value != usual[name] and all(isinstance(v, str | int | float | None) for v in items):
            yield name, value


def _user_lines(model: Parts) -> Iterator[str]:
    unit, count = model.spec.unit, len(model.user_ids)
    who = "users" if unit == "user_id" else f"values of `{unit}`, each with a preference of its own,"
    yield f"{who} it knows: {_count(count)}"
    if count >= FEW:
        n = model.n_comparisons
        yield f"comparisons: {int(n.sum()):,}; of one of them, median {np.median(n):,.0f}"


def _count(n: int) -> str:
    return f"{n:,}" if n >= FEW else f"fewer than {FEW}"


def _controls(comparison: "Comparison | None") -> str:
    """Accuracy of models beside their controls, a row a cell and model, and the verdicts."""
    if comparison is None:
        return (
            "Not measured for this card. `plurality.compare` sets the model beside Bradley–Terry and its own controls: "
            "the population's code for all users, another user's code, and a fit on shuffled users. What does not beat "
            "them is not personal."
        )
    head = ("users and items", "model", "accuracy, mean over users [95 %]", *CONTROLS, "users")
    rows = [head, ("---",) * len(head), *_accuracies(comparison)]
    table = "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)
    verdicts = "\n".join(f"- {_plain(line)}" for line in comparison.verdict)
    return "\n\n".join(part for part in (table, verdicts) if part)


def _by_group(audit: "Findings") -> Iterator[str]:
    """Accuracy and calibration of groups, and what an audit says."""
    head = ("group", f"accuracy, mean over users [{audit.meta['level']:.0%}]", "calibration error, folded", "users", "")
    rows = [head, ("---",) * len(head), *group_rows(audit, FEW)]
    yield "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)
    yield "\n".join(f"- {_plain(line)}" for line in verdict(audit))


def _accuracies(comparison: "Comparison") -> Iterator[tuple[str, ...]]:
    by_line = {(r["cell"], r["model"]): r for r in comparison.table.to_dicts() if r["metric"] == "accuracy"}
    for (cell, model), row in by_line.items():
        if not row["control"] or model not in {f"{m} · {c}" for _, m in by_line for c in CONTROLS}:
            beside = [by_line.get((cell, f"{model} · {kind}")) for kind in CONTROLS]
            own = f"{row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}]"
            controls = ("" if c is None else f"{c['estimate']:.3f}" for c in beside)
            yield (cell, model, own, *controls, _count(row["n_users"]))


def _privacy_lines(model: Parts, place: Place) -> Iterator[str]:
    ids = (
        "keyed hashes (HMAC-SHA256) of the user ids, in the order of the hashes"
        if place.hashed
        else "the user ids as they were given"
    )
    yield f"`users.parquet`: {ids}; and how many comparisons each of them made."
    yield (
        "`head.safetensors`: the weights, and what is believed of each user's code, which says what that user prefers: "
        "hashed ids are pseudonyms, not anonymity."
    )
    yield "`config.json`: settings (of demographics, the names of columns and levels), and what the fit reported."
    terms = None if model.encoder is None else model.encoder.describe().get("n_terms")
    if terms is not None:
        yield f"`encoder/`: a vocabulary of {terms:,} words and pairs of words out of the texts that were embedded."
    elif model.encoder is not None:
        yield "`encoder/`: the settings of the encoder, no text."


def _plain(text: str) -> str:
    """One line of Markdown in which nothing is a tag."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
