import json
import re
from collections import Counter
from math import log

import numpy as np
import pytest

from plurality import encoders
from plurality.encoders import LsaSpec, lsa
from plurality.errors import InputError, InputWarning

WORDS = [f"word{i}" for i in range(60)]


def corpus(n: int = 80, seed: int = 0) -> list[str]:
    """Texts of skewed word frequencies, so that counts, document frequencies and lengths all differ."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 15), p=weight / weight.sum())) for _ in range(n)]


def fit(texts: list[str], **settings) -> encoders.Lsa:
    return LsaSpec(**settings).fit(([""] * len(texts), texts), seed=0)


def encode(encoder: encoders.Lsa, texts: list[str]) -> np.ndarray:
    return encoder.encode([""] * len(texts), texts)


def tfidf(texts: list[str], fitted_on: list[str]) -> np.ndarray:
    """(1 + log tf)(1 + log((1 + n)/(1 + df))) on single words, rows of unit length, by hand."""
    unique = sorted(set(fitted_on))
    df = Counter(word for text in unique for word in set(text.split()))
    terms = sorted(df)
    rows = np.zeros((len(texts), len(terms)))
    for row, text in enumerate(texts):
        for word, count in Counter(text.split()).items():
            if word in df:
                idf = 1 + log((1 + len(unique)) / (1 + df[word]))
                rows[row, terms.index(word)] = (1 + log(count)) * idf
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def test_inner_products_are_those_of_the_best_low_rank_tfidf():
    texts = corpus()
    weights = tfidf(texts, texts)
    left, values, _ = np.linalg.svd(weights, full_matrices=False)
    x = encode(fit(texts, dim=10, min_df=1, max_ngram=1), texts)
    best = (left[:, :10] * values[:10] ** 2) @ left[:, :10].T
    # the randomised SVD is not exact: its own error, not rounding, sets the tolerance
    np.testing.assert_allclose(x @ x.T, best, atol=0.02)


def test_unseen_texts_at_full_rank_keep_their_tfidf_inner_products():
    texts, unseen = corpus(120), corpus(20, seed=1)
    encoder = fit(texts, dim=len(WORDS), min_df=1, max_ngram=1)
    x, y = encode(encoder, texts), encode(encoder, unseen)
    expected = tfidf(unseen, texts) @ tfidf(texts, texts).T
    np.testing.assert_allclose(y @ x.T, expected, atol=1e-5)


def test_explained_variance_is_the_share_that_the_dense_svd_keeps():
    texts = corpus()
    weights = tfidf(texts, texts)
    _, _, right = np.linalg.svd(weights, full_matrices=False)
    share = (weights @ right[:20].T).var(0).sum() / weights.var(0).sum()
    described = fit(texts, dim=20, min_df=1, max_ngram=1).describe()
    assert described["explained_variance"] == pytest.approx(share, abs=0.01)


def test_the_order_and_repetition_of_the_corpus_do_not_matter():
    texts = corpus()
    shuffled = [texts[i] for i in np.random.default_rng(1).permutation(len(texts))]
    one, other = fit(texts, dim=8), fit(shuffled + texts[:5], dim=8)
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(encode(one, texts), encode(other, texts))


def test_the_seed_is_part_of_the_fingerprint():
    texts = corpus()
    pairs = ([""] * len(texts), texts)
    seeds = [LsaSpec(dim=8).fit(pairs, seed=seed).fingerprint for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_vector_does_not_depend_on_its_batch(monkeypatch):
    texts = corpus()
    encoder = fit(texts, dim=8)
    together = encode(encoder, texts)
    monkeypatch.setattr(lsa, "BATCH", 7)
    np.testing.assert_array_equal(encode(encoder, texts), together)
    np.testing.assert_array_equal(encode(encoder, texts[3:4])[0], together[3])


def test_saved_and_loaded_gives_the_same_bits(tmp_path):
    texts = [*corpus(), "Don’t **shout**!\n\n- first\n- second", "naïve 日本語 words, words"]
    encoder = fit(texts, dim=12, min_df=1)
    encoder.save(tmp_path)
    loaded = encoders.load(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.json", "encoder.safetensors"]
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.describe() == encoder.describe() == json.loads(json.dumps(encoder.describe()))
    unseen = corpus(30, seed=2)
    np.testing.assert_array_equal(encode(loaded, texts + unseen), encode(encoder, texts + unseen))
    assert encode(loaded, texts).dtype == np.float32


def test_unknown_words_give_zeros():
    encoder = fit(corpus(), dim=8)
    with pytest.warns(InputWarning, match=r"lsa: 1 of 2 completions \(50\.0%\) get a zero vector, completions\[0\]"):
        x = encode(encoder, ["entirely unheard of", "word0"])
    assert not x[0].any()
    assert x[1].any()
    assert np.isfinite(x).all()


def test_tokens_keep_contractions_marks_and_line_breaks():
    found = re.findall(lsa.TOKEN, "I don't, it’s **so**!\n\n- 3rd")
    assert found == ["I", "don't", ",", "it’s", "*", "*", "so", "*", "*", "!", "\n\n", "-", "3rd"]


def test_scripts_without_spaces_are_characters_and_signs_stay_with_their_letters():
    found = re.findall(lsa.TOKEN, "中国は2020年 naïve หิว हिन्दी में। 한국어 cafe\u0301")
    assert found == ["中", "国", "は", "2020", "年", "naïve", "หิ", "ว", "हिन्दी", "में", "।", "한국어", "cafe\u0301"]
    english = "I don't, it’s **so**!\n\n- 3rd __x_y 3.5 it''s"
    assert re.findall(lsa.TOKEN, english) == re.findall(lsa.SPACED, english)


UNSPACED = {
    "Chinese": ["我喜欢喝绿茶", "他每天早上喝绿茶", "我们明天去爬山", "周末大家一起去爬山", "绿茶比红茶好", "爬山很累"],
    "Japanese": [
        "緑茶を飲むのが好き",
        "毎朝緑茶を飲む",
        "明日山に登ります",
        "週末は山に登りたい",
        "緑茶が好き",
        "山は高い",
    ],
    "Thai": ["ฉันชอบดื่มชาเขียว", "เขาดื่มชาเขียวทุกเช้า", "พรุ่งนี้เราจะไปปีนเขา", "สุดสัปดาห์ไปปีนเขากัน", "ชาเขียวดี", "ปีนเขาเหนื่อย"],
}


@pytest.mark.parametrize("language", UNSPACED)
def test_texts_that_share_phrases_are_nearer_without_spaces_too(language):
    texts = UNSPACED[language]
    with pytest.warns(InputWarning, match="support only dim"):
        encoder = fit(texts, min_df=1)
    x = encode(encoder, texts)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    near = x @ x.T
    assert near[0, 1] > near[0, 2] + 0.1  # both about tea; the third is about climbing
    assert near[2, 3] > near[2, 1] + 0.1
    assert len(set(texts) & set(encoder.vocabulary)) == 0


def test_an_encoder_of_an_earlier_version_keeps_its_words(tmp_path):
    texts = corpus()
    made = fit(texts, dim=8)
    arrays = made._arrays
    earlier = lsa.Lsa(made.spec, made.vocabulary, arrays["idf"], arrays["components"], made.facts, lsa.SPACED)
    earlier.save(tmp_path)
    record = json.loads((tmp_path / "encoder.json").read_text())
    assert record.pop("token") == lsa.SPACED  # which those versions did not write
    (tmp_path / "encoder.json").write_text(json.dumps(record))
    loaded = encoders.load(tmp_path)
    assert loaded.fingerprint == earlier.fingerprint != made.fingerprint
    np.testing.assert_array_equal(encode(loaded, texts), encode(earlier, texts))


def test_dim_is_reduced_to_what_the_corpus_supports():
    texts = ["one two three", "two three four", "one four five", "one two three"]
    with pytest.warns(InputWarning, match="dim=256 was asked, 3 unique texts support only dim=3"):
        encoder = fit(texts, min_df=1)
    assert encoder.dim == encoder.describe()["dim"] == 3
    # rank two: the third text says nothing that the first does not
    with pytest.warns(InputWarning, match="support only dim=2"):
        encoder = fit(["one two", "three four", "two one"], min_df=1, max_ngram=1)
    assert encode(encoder, ["one two"]).shape == (1, 2)


def test_max_texts_bounds_the_fit():
    encoder = fit(corpus(200), dim=5, max_texts=50)
    assert encoder.describe()["n_texts"] == 50


def test_the_template_decides_whether_the_prompt_counts():
    prompts = [[{"role": "user", "content": text}] for text in corpus(80, seed=3)]
    texts = corpus(80)
    alone = LsaSpec(dim=8).fit((prompts, texts))
    both = LsaSpec(dim=8, template="conversation").fit((prompts, texts))
    np.testing.assert_array_equal(alone.encode(prompts[:1], ["word0 word1"]), encode(alone, ["word0 word1"]))
    joined = f"{prompts[0][0]['content']}\n\nword0 word1"
    np.testing.assert_array_equal(both.encode(prompts[:1], ["word0 word1"]), encode(both, [joined]))
    np.testing.assert_array_equal(both.encode_prompts(prompts), encode(both, corpus(80, seed=3)))


def test_no_texts_give_no_vectors():
    assert encode(fit(corpus(), dim=8), []).shape == (0, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"dim": 0}, "dim=0"), ({"template": "both"}, "template='both'"), ({"min_df": 0.5}, "min_df=0.5")],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        LsaSpec(**settings)


def test_bad_rows_and_bad_corpora_are_named():
    encoder = fit(corpus(), dim=8)
    with pytest.raises(InputError, match=r"completions\[1\] is NoneType"):
        encoder.encode(["", ""], ["word0", None])
    with pytest.raises(InputError, match=r"completions\[1\] is empty"):
        encoder.encode(["", ""], ["word0", "  "])
    with pytest.raises(InputError, match=r"prompts\[0\] is empty"):
        encoder.encode_prompts([""])
    with pytest.raises(InputError, match="no term occurs in 2 of 3 unique texts"):
        fit(["a", "b", "c"])
    with pytest.raises(InputError, match="of 0 unique texts"):
        fit([])


@pytest.mark.parametrize("other_corpus_seed", [0, 1])
def test_files_of_two_encoders_are_not_mixed(tmp_path, other_corpus_seed):
    fit(corpus(), dim=8).save(tmp_path / "a")
    texts = corpus(seed=other_corpus_seed)
    LsaSpec(dim=8).fit(([""] * len(texts), texts), seed=5).save(tmp_path / "b")
    (tmp_path / "b" / "encoder.safetensors").replace(tmp_path / "a" / "encoder.safetensors")
    with pytest.raises(InputError, match=r"do not belong together|damaged lsa encoder \(idf"):
        encoders.load(tmp_path / "a")
    with pytest.raises(InputError, match=r"encoder\.safetensors is missing"):
        encoders.load(tmp_path / "b")


@pytest.mark.parametrize("key", ["vocabulary", "spec", "facts", "fingerprint"])
def test_a_record_without_its_parts_is_named(tmp_path, key):
    fit(corpus(), dim=8).save(tmp_path)
    record = json.loads((tmp_path / "encoder.json").read_text())
    del record[key]
    (tmp_path / "encoder.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="damaged lsa encoder"):
        encoders.load(tmp_path)


@pytest.mark.parametrize("texts", [["a", "a"], ["a"], ["a", "a a"], ["a", "b"]])
@pytest.mark.parametrize("min_df", [1, 2])
def test_a_corpus_of_one_word_is_named(texts, min_df):
    spec = LsaSpec(dim=2, min_df=min_df, max_ngram=1)
    if texts == ["a", "b"] and min_df == 1:
        assert spec.fit(([""] * 2, texts)).dim == 2
        return
    with pytest.raises(InputError, match=r"lsa: (only one|no) term occurs in \d of \d unique texts: give more texts"):
        spec.fit(([""] * len(texts), texts))
