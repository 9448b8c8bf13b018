"""Latent semantic analysis: TF-IDF and a truncated SVD, fitted in seconds with nothing to download."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from plurality.encoders import storage
from plurality.encoders.progress import meter, spinner
from plurality.encoders.protocol import Corpus, Prompt, Template, Vectors
from plurality.encoders.text import (
    check_not_blank,
    check_pairs,
    contents,
    conversations,
    prompt_conversations,
)
from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded

# Words (don't stays whole), single marks and runs of line breaks: how an answer is laid out and
# punctuated is part of its style, and people differ in the styles they prefer.
SPACED = r"\w+(?:['’]\w+)*|[^\w\s]|\n+"  # of encoders saved without a pattern of their own
# Scripts without spaces between words (Thai to Khmer, kana, Han) are single characters with their marks, of which
# n-grams are made as of words. Vowel signs are no letters to Python; with them words of India stay whole.
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\uff66-\uff9f\U00020000-\U0003ffff"
)
SIGNS = r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
MARKS = r"\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0903\u093a-\u0963\u0981-\u0dff\u200c\u200d"
WORD = rf"[^\W{UNSPACED}](?:[^\W{UNSPACED}]|[{MARKS}])*"
TOKEN = rf"[{UNSPACED}][{SIGNS}]*|{WORD}(?:['’]{WORD})*|[^\w\s]|\n+"
BATCH = 8192


@dataclass(frozen=True)
class LsaSpec:
    """Settings of an LSA encoder; `fit` gives the encoder.

    `min_df` counts texts a term must occur in, `max_ngram` is the longest n-gram of words,
    `max_features` keeps the most frequent terms, `max_texts` bounds time and memory of the fit: a larger
    corpus is fitted on a random part of that size.

    dim         dimensions of a vector; fewer where the texts have fewer
    template    "conversation" (prompt and completion) or "completion"
    """

    dim: int = 256
    template: Template = "completion"
    min_df: int = 2
    max_ngram: int = 2
    max_features: int = 50_000
    max_texts: int = 300_000

    def __post_init__(self) -> None:
        if self.template not in get_args(Template):
            raise InputError(f"template={self.template!r} is unknown: choose from {get_args(Template)}")
        for name in ("dim", "min_df", "max_ngram", "max_features", "max_texts"):
            value = asdict(self)[name]
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name}={value!r} is not a positive whole number")

    def fit(self, corpus: Corpus, *, seed: int = 0, progress: bool = False) -> "Lsa":
        """Fit on the unique texts of the corpus, whatever their order.

        TF-IDF: (1 + log tf) · (1 + log((1 + n) / (1 + df))), rows scaled to unit length; then the best
        rank-`dim` approximation (randomised SVD, Halko et al. 2011). InputWarning when the corpus
        supports fewer dimensions than asked; InputError when no term occurs in `min_df` texts.

        corpus      prompts and completions, a pair a row
        seed        of the randomised SVD
        progress    show a progress bar; off by default
        """
        texts = np.array(sorted({text for text in _texts(self, *corpus) if text.strip()}), dtype=object)
        if len(texts) > self.max_texts:
            rows = np.random.default_rng(seed).choice(len(texts), self.max_texts, replace=False)
            texts = texts[np.sort(rows)]
        with spinner(f"fitting TF-IDF and SVD on {len(texts)} texts", progress):
            vocabulary, idf, components, explained = _fit(self, texts, seed)
        if len(components) < self.dim:
            note = f"dim={self.dim} was asked, {len(texts)} unique texts support only dim={len(components)}"
            warn(InputWarning(note), stacklevel=2)
        facts = {"seed": seed, "n_texts": len(texts), "explained_variance": round(explained, 6)}
        return Lsa(self, vocabulary, idf, components, facts)


class Lsa:
    """A fitted LSA encoder: x = V tfidf(text), with V (dim, terms). Unknown words give zeros, with a warning.

    spec          the settings it was fitted with
    vocabulary    terms, in order
    idf           (terms,) inverse document frequencies
    components    (dim, terms) V
    facts         what was measured at the fit
    token         pattern of a term's parts
    """

    def __init__(
        self,
        spec: LsaSpec,
        vocabulary: Sequence[str],
        idf: NDArray[np.float32],
        components: NDArray[np.float32],
        facts: dict[str, Any],
        token: str = TOKEN,
    ) -> None:
        self.spec, self.vocabulary, self.facts, self.token = spec, list(vocabulary), facts, token
        self._arrays = {"idf": idf, "components": components}
        self._projection = np.ascontiguousarray(components.T)  # (terms, dim)
        self._vectorizer = _vectorizer(spec, self.vocabulary, token)
        self._vectorizer.idf_ = idf
        self._fingerprint = storage.fingerprint(
            {"kind": "lsa", "token": token, "spec": asdict(spec), "vocabulary": self.vocabulary}, self._arrays
        )

    @property
    def dim(self) -> int:
        return self._projection.shape[1]

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def describe(self) -> dict[str, Any]:
        """What the encoder is, JSON-able; `explained_variance` is the share of TF-IDF variance kept."""
        return {
            "kind": "lsa",
            "name": "lsa",
            "revision": None,
            "template": self.spec.template,
            "pooling": None,
            "dtype": "float32",
            "max_length": None,
            "dim": self.dim,
            "n_terms": len(self.vocabulary),
            **self.facts,
            "fingerprint": self.fingerprint,
        }

    def encode(self, prompts: Sequence[Prompt], completions: Sequence[str], progress: bool = False) -> Vectors:
        """Embed each completion under the template, (n, dim); InputError names a row that is not text.

        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        progress       show a progress bar; off by default
        """
        texts = _texts(self.spec, prompts, completions)
        check_not_blank(texts, "completions")
        return self._embed(texts, "completions", progress)

    def encode_prompts(self, prompts: Sequence[Prompt], progress: bool = False) -> Vectors:
        """Embed each prompt by itself, (n, dim).

        prompts     (n,) strings or message lists
        progress    show a progress bar; off by default
        """
        texts = [contents(conversation) for conversation in prompt_conversations(prompts)]
        check_not_blank(texts, "prompts")
        return self._embed(texts, "prompts", progress)

    def save(self, folder: Path) -> None:
        """Write encoder.json and encoder.safetensors; the record comes last, so it vouches for both.

        folder    new folder to write
        """
        folder = expanded(folder)
        storage.write_tensors(folder / storage.TENSORS, self._arrays)
        fitted = {"spec": asdict(self.spec), "facts": self.facts, "vocabulary": self.vocabulary, "token": self.token}
        storage.write_record(folder, {**self.describe(), **fitted})

    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        with meter("embedding (lsa)", len(texts), len(texts), progress) as advance:
            for start in range(0, len(texts), BATCH):
                part = texts[start : start + BATCH]
                vectors[start : start + BATCH] = self._vectorizer.transform(part) @ self._projection
                advance(len(part), len(part))
        none = np.flatnonzero(~vectors.any(axis=1))
        if len(none):
            share = f"{len(none):,} of {len(texts):,} {what} ({len(none) / len(texts):.1%})"
            note = (
                f"lsa: {share} get a zero vector, {what}[{none[0]}] among them: the encoder knows none of their terms"
            )
            warn(
                InputWarning(f"{note}; fit with a smaller min_df or a larger dim, or use another encoder"), stacklevel=3
            )
        return vectors


def load(folder: Path, record: dict[str, Any]) -> Lsa:
    """Restore a saved LSA encoder, bit for bit; InputError when a file is damaged or of another save."""
    arrays = storage.read_tensors(folder / storage.TENSORS)
    try:
        spec, token = LsaSpec(**record["spec"]), record.get("token", SPACED)
        encoder = Lsa(spec, record["vocabulary"], arrays["idf"], arrays["components"], record["facts"], token)
        promised = record["fingerprint"]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(f"{folder} holds a damaged lsa encoder ({error}): fit and save it again") from None
    if encoder.fingerprint != promised:
        raise InputError(f"{folder}: {storage.RECORD} and {storage.TENSORS} do not belong together: save again")
    return encoder


def _texts(spec: LsaSpec, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[str]:
    if spec.template == "conversation":
        return [contents(conversation) for conversation in conversations(prompts, completions)]
    check_pairs(prompts, completions)
    return [str(completion) for completion in completions]


def _fit(
    spec: LsaSpec, texts: NDArray[np.object_], seed: int
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32], float]:
    from sklearn.decomposition import TruncatedSVD

    vectorizer = _vectorizer(spec, None, TOKEN)
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:
        raise InputError(
            f"lsa: no term occurs in {spec.min_df} of {len(texts)} unique texts: give more texts or min_df=1"
        ) from None
    if weights.shape[1] < 2:
        raise InputError(
            f"lsa: only one term occurs in {spec.min_df} of {len(texts)} unique texts: give more texts or min_df=1"
        )
    svd = TruncatedSVD(min(spec.dim, *weights.shape), random_state=seed).fit(weights)
    # directions beyond the rank of the corpus are rounding noise that the seed would decide
    kept = int(np.sum(svd.singular_values_ > 1e-5 * svd.singular_values_[0]))
    components = np.ascontiguousarray(svd.components_[:kept], dtype=np.float32)
    explained = float(svd.explained_variance_ratio_[:kept].sum())
    return (
        vectorizer.get_feature_names_out().tolist(),
        vectorizer.idf_.astype(np.float32),
        components,
        explained,
    )


def _vectorizer(spec: LsaSpec, vocabulary: list[str] | None, token: str) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        token_pattern=token,
        ngram_range=(1, spec.max_ngram),
        sublinear_tf=True,
        min_df=spec.min_df,
        max_features=spec.max_features,
        vocabulary=vocabulary,
        dtype=np.float32,
    )
