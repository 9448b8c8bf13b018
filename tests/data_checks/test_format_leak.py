"""The format probe: it shouts at planted leaks, and is quiet where only length, or a taste in words, decides."""

import numpy as np
import polars as pl
import pytest

from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.data_checks.format_features import FORMAT, LENGTH, MARKS, format_features
from plurality.data_checks.format_leak import format_leak
from plurality.errors import InputError

PHRASE = 'the a river Stone reads quickly, because 12 birds (two of them) sang. Then it "rained" again!'
WORDS = np.array(PHRASE.split())


def texts(rng: np.random.Generator, n: int) -> list[str]:
    return [" ".join(rng.choice(WORDS, size=size)) for size in rng.integers(8, 60, size=n)]


def chosen_by_length(seed: int, letters: object, n: int = 600, n_users: int = 30, change: object = None) -> Comparisons:
    """Texts of random words; the longer is chosen with probability σ(difference in log length · 2)."""
    rng = np.random.default_rng(seed)
    one, other = texts(rng, n), texts(rng, n)
    gap = 2 * (np.log([len(t) for t in one]) - np.log([len(t) for t in other]))
    won = rng.random(n) < 1 / (1 + np.exp(-gap))
    frame = {
        "user_id": [f"u{i}" for i in rng.integers(n_users, size=n)],
        "prompt": [f"prompt {i}" for i in rng.integers(n // 4, size=n)],
        "chosen": [a if w else b for a, b, w in zip(one, other, won, strict=True)],
        "rejected": [b if w else a for a, b, w in zip(one, other, won, strict=True)],
    }
    if change is not None:
        frame = change(frame, rng)
    return read(pl.DataFrame(frame), encoder=letters)


@pytest.mark.parametrize(("draws", "most"), [(12, 1), pytest.param(40, 2, marks=pytest.mark.slow)])
def test_clean_texts_raise_no_alarm(letters, draws, most):
    """Of 40 draws at most two may be suspicious: 5 %."""
    alarms = [
        format_leak(chosen_by_length(s, letters, n=300), n_bootstrap=200).verdict != "clean" for s in range(draws)
    ]
    assert sum(alarms) <= most


def as_list(frame, rng):
    return {**frame, "rejected": [repr([t]) for t in frame["rejected"]]}


def as_list_of_several(frame, rng):
    """What happened to a published pipeline: all other answers of the turn in one string."""
    return {**frame, "rejected": [repr([t, *texts(rng, 2)]) for t in frame["rejected"]]}


def token_in_some(frame, rng):
    some = rng.random(len(frame["rejected"])) < 0.1
    return {**frame, "rejected": [f"{t}<|eot_id|>" if s else t for t, s in zip(frame["rejected"], some, strict=True)]}


def trailing_space(frame, rng):
    return {**frame, "chosen": [f"{t}\n" for t in frame["chosen"]]}


@pytest.mark.parametrize(
    ("change", "culprit", "side"),
    [
        (as_list, "a list as Python prints it", "rejected"),
        (as_list_of_several, "a list as Python prints it", "rejected"),
        (token_in_some, "template tokens", "rejected"),
        (trailing_space, "ends with whitespace", "chosen"),
    ],
)
def test_a_planted_leak_is_shouted(letters, change, culprit, side):
    found = format_leak(chosen_by_length(0, letters, change=change), n_bootstrap=200)
    assert found.verdict == "suspicious"
    said = " ".join(found.sentences)
    assert "SUSPICIOUS" in said
    features = found.features.filter(pl.col("feature") == culprit)
    assert features["chosen"].item() == (1.0 if side == "chosen" else 0.0)
    assert len(found.examples)
    assert {"feature", "user_id", "prompt", "chosen", "rejected"} == set(found.examples.columns)


def test_the_leak_is_whole_and_length_is_not_blamed(letters):
    found = format_leak(chosen_by_length(0, letters, change=as_list), n_bootstrap=200)
    by = {row["what"]: row for row in found.table.iter_rows(named=True)}
    assert by["format and length"]["estimate"] > 0.99
    assert 0.6 < by["length"]["estimate"] < 0.9
    assert by["beyond length"]["lo"] > 0.1


def test_regular_length_is_suspicious_too(letters):
    def much_longer(frame, rng):
        return {**frame, "rejected": [f"{t} {' '.join(texts(rng, 6))}" for t in frame["rejected"]]}

    found = format_leak(chosen_by_length(0, letters, change=much_longer), n_bootstrap=200)
    assert found.verdict == "suspicious"
    assert any(s.startswith("SUSPICIOUS length") for s in found.sentences)


def test_a_leak_within_one_prompt_is_not_learnt_by_heart(letters):
    """Which text is chosen is fixed by prompt, at random: nothing carries over to new prompts."""
    rng = np.random.default_rng(0)
    frame = {"user_id": [], "prompt": [], "chosen": [], "rejected": []}
    for q in range(60):
        a, b = texts(rng, 2)
        for user in range(10):
            for name, v in zip(frame, (f"u{user}", f"prompt {q}", a, b), strict=True):
                frame[name].append(v)
    found = format_leak(read(pl.DataFrame(frame), encoder=letters), n_bootstrap=200)
    assert found.verdict == "clean"


def test_texts_that_the_encoder_was_given_may_be_others(letters):
    data = chosen_by_length(0, letters)
    texts_ = data.texts
    assert format_leak(data, texts_, n_bootstrap=50).verdict == "clean"
    lost = np.zeros(len(data.items), dtype=bool)
    lost[np.where(data.label > 0.5, data.second, data.first)] = True
    lists = [repr([t]) if gone else t for t, gone in zip(texts_["completion"], lost, strict=True)]
    assert format_leak(data, pl.DataFrame({"completion": lists}), n_bootstrap=50).verdict == "suspicious"
    with pytest.raises(InputError, match=r"texts: 1 rows .* give a row an item"):
        format_leak(data, pl.DataFrame({"completion": ["x"]}))
    with pytest.raises(InputError, match="completion is List"):
        format_leak(data, texts_.select(completion=pl.concat_list("completion")))


def test_too_few_are_said_to_be_few(letters):
    found = format_leak(chosen_by_length(0, letters, n=60), n_bootstrap=50)
    assert found.verdict == "too few data"
    assert "too few to tell" in found.sentences[0]


def test_no_texts_raise():
    frame = pl.DataFrame({"user_id": ["a"], "first": [0], "second": [1], "label": [1.0]})
    with pytest.raises(InputError, match="items have no texts"):
        format_leak(read(frame, embeddings=np.eye(2, dtype=np.float32)))


def test_features_by_hand():
    looks = format_features(pl.Series(["['good', 'bad']", " Two words\n\n- a list", "plain."]))
    assert looks.columns == [*LENGTH, *FORMAT]
    row = looks.row(0, named=True)
    assert row["characters"] == pytest.approx(np.log(16))
    assert row["words"] == pytest.approx(np.log(3))
    assert row["square brackets"] == pytest.approx(2 / 35)
    assert row["quotes"] == pytest.approx(4 / 35)
    marks = {name for name in MARKS if row[name]}
    assert marks == {"begins with a bracket", "ends with a bracket", "a list as Python prints it",
                     "items as Python prints them"}  # fmt: skip
    second = looks.row(1, named=True)
    assert {name for name in MARKS if second[name]} == {"begins with whitespace", "blank lines", "list marks",
                                                        "no final punctuation"}  # fmt: skip
    assert not any(looks.row(2, named=True)[name] for name in MARKS)


def test_under_one_prompt_no_item_is_trained_on_and_tested(letters):
    """As in polls and ratings: items recur in many comparisons, and only their looks may carry over to others."""

    def polled(leak):
        rng = np.random.default_rng(1)
        items = texts(rng, 120)
        worth = rng.normal(size=120)  # which says nothing of looks
        pairs = np.stack([rng.integers(120, size=6000), rng.integers(120, size=6000)], 1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        won = worth[pairs[:, 0]] > worth[pairs[:, 1]]
        if leak:  # what is worth more ends with a mark
            items = [f"{t} ###" if w > 0 else t for t, w in zip(items, worth, strict=True)]
        best, rest = np.where(won, *pairs.T), np.where(won, *pairs.T[::-1])
        frame = {"user_id": [f"u{i % 40}" for i in range(len(pairs))], "prompt": ["which?"] * len(pairs)}
        frame |= {"chosen": [items[i] for i in best], "rejected": [items[i] for i in rest]}
        return format_leak(read(pl.DataFrame(frame), encoder=letters, repeats="keep"), n_bootstrap=200)

    assert polled(leak=False).verdict == "clean"
    assert polled(leak=True).verdict == "suspicious"
