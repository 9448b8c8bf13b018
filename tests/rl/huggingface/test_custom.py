"""Custom exports: every pooling and form, users by name, row and latent, in a process without this package."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import plurality as pl8
from plurality.errors import InputError, InputWarning
from plurality.rl.huggingface import export_adapters, export_baked, export_custom
from plurality.rl.huggingface.checkpoint import Loaded
from plurality.rl.huggingface.remote_code.modeling_plurality import PluralityForSequenceClassification

REWARDS = {
    "low rank, mean of bert": (pl8.LowRank(rank=2, decay=3.0), "bert", {"pooling": "mean"}),
    "bradley-terry, mean of qwen2": (pl8.BradleyTerry(decay=3.0), "qwen2", {"pooling": "mean"}),
    "hidden layer, first of bert": (pl8.BradleyTerry(hidden=4, decay=2.0), "bert", {"pooling": "first"}),
    "pal, last of llama": (pl8.PAL(n_prototypes=2, decay=3.0), "llama", {"pooling": "last"}),
    "vpl, last of gpt2": (pl8.VPL(n_codes=2, n_features=3, beta=1.0, decay=3.0), "gpt2", {"template": "completion"}),
}


def load(folder):
    return Loaded(folder, PluralityForSequenceClassification)


@pytest.mark.parametrize(("spec", "family", "settings"), REWARDS.values(), ids=REWARDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_everybody_s_gaps_are_the_toolkit_s(spec, family, settings, side, made, texts, truth):
    reward, folder = made(spec, family, **settings)
    people = ["u0", "u7", "u3", "u11", "u0"]
    loaded = load(folder)
    batch = loaded.tokenizer(loaded.texts(texts), padding=True, padding_side=side, return_tensors="pt")
    expected = truth(reward, people)  # (5 users, 5 texts)
    for user, row in zip(people, expected, strict=True):
        with torch.no_grad():
            got = loaded.model(**batch, user_ids=[user] * 5).logits
        assert got.shape == (5, 1)
        np.testing.assert_allclose(got[:, 0] - got[0, 0], row, atol=2e-4)
    assert np.ptp(expected) > 0.1


@pytest.fixture(scope="module")
def made(backbone, fitted, tmp_path_factory):
    """Fit and export once for each kind of reward."""
    done = {}

    def make(spec, family, **settings):
        key = (spec, family, *settings.items())
        if key not in done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)  # so few people say little, which is not asked here
                reward = fitted(spec, backbone(family, normalise=family == "bert"), **settings)
            export_custom(reward, folder := tmp_path_factory.mktemp("custom") / "out", user="u2")
            done[key] = reward, folder
        return done[key]

    return make


def test_users_are_named_numbered_or_given_whole(made, texts, truth):
    reward, folder = made(*REWARDS["low rank, mean of bert"][:2], pooling="mean")
    loaded = load(folder)
    batch = loaded.tokenizer(loaded.texts(texts), padding=True, return_tensors="pt")

    def gaps(**who):
        with torch.no_grad():
            out = loaded.model(**batch, **who).logits[:, 0]
        return (out - out[0]).numpy()

    table = loaded.model.plurality_head.users.weight.detach()
    five = loaded.model.config.user_ids.index("u5") + 1
    np.testing.assert_allclose(gaps(), truth(reward, ["u2"])[0], atol=2e-4)
    named = gaps(user_ids=["u5"] * 5)
    np.testing.assert_allclose(named, truth(reward, ["u5"])[0], atol=2e-4)
    np.testing.assert_array_equal(gaps(user_ids=torch.full((5,), five)), named)
    np.testing.assert_array_equal(gaps(user_latents=table[five].expand(5, -1)), named)
    x = reward.text_encoder().encode(*texts)
    everybody = reward.utility(x, ["?"], unknown="population")[0]
    np.testing.assert_allclose(gaps(user_ids=[None] * 5), everybody - everybody[0], atol=2e-4)
    np.testing.assert_allclose(gaps(user_ids=torch.zeros(5)), everybody - everybody[0], atol=2e-4)
    with pytest.raises(KeyError, match="'nobody' is not in this checkpoint"):
        gaps(user_ids=["nobody"] * 5)
    with pytest.raises(ValueError, match="2 users for 5 texts"):
        gaps(user_ids=["u1", "u2"])


def test_utilities_not_only_gaps_are_the_toolkit_s(made, texts):
    """A constant is kept here, so that users' scores compare as the toolkit's do; a mixed batch is one call."""
    reward, folder = made(*REWARDS["pal, last of llama"][:2], pooling="last")
    loaded = load(folder)
    batch = loaded.tokenizer(loaded.texts(texts), padding=True, return_tensors="pt")
    people = ["u1", "u2", "u3", "u4", "u5"]
    with torch.no_grad():
        got = loaded.model(**batch, user_ids=people).logits[:, 0].numpy()
    u = reward.utility(reward.text_encoder().encode(*texts), people)
    np.testing.assert_allclose(got, np.diag(u), atol=2e-4)


def test_without_a_mask_padding_is_what_the_padding_token_is(made, texts):
    loaded = load(made(*REWARDS["bradley-terry, mean of qwen2"][:2], pooling="mean")[1])
    batch = loaded.tokenizer(loaded.texts(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        masked, bare = loaded.model(**batch).logits, loaded.model(batch["input_ids"]).logits
    np.testing.assert_array_equal(masked, bare)


def test_a_table_row_is_trained_by_what_its_user_prefers(made, texts):
    """As a reward trainer does with user_ids: a step moves that user's row and nobody else's."""
    loaded = load(made(*REWARDS["low rank, mean of bert"][:2], pooling="mean")[1])
    batch = loaded.tokenizer(loaded.texts(texts)[:2], padding=True, return_tensors="pt")
    out = loaded.model(**batch, user_ids=["u4", "u4"], use_cache=False, margin=None).logits
    torch.nn.functional.softplus(out[1] - out[0]).sum().backward()
    gradient = loaded.model.plurality_head.users.weight.grad
    moved = gradient.abs().sum(1).nonzero().flatten().tolist()
    assert moved == [1 + loaded.model.config.user_ids.index("u4")]


def test_the_rows_of_a_trainer_s_collator_are_those_of_the_table(made):
    from plurality.rl.trl import preference_collator

    _, folder = made(*REWARDS["low rank, mean of bert"][:2], **REWARDS["low rank, mean of bert"][2])
    model, names = load(folder).model, ["u3", "u0", "u11"]
    collator = preference_collator(0, ["", *model.config.user_ids])
    batch = collator([{"chosen_ids": [5, 6], "rejected_ids": [7], "user_id": name} for name in names])
    assert batch["user_ids"].tolist() == 2 * model.rows(names, 3).tolist()


def test_a_group_has_a_row_and_is_the_default(backbone, fitted, table, texts, truth, tmp_path):
    reward = fitted(pl8.LowRank(rank=2, decay=3.0), backbone("qwen2"), pooling="mean")
    done = export_custom(reward, tmp_path / "out", group=("camp", "many"), users=table)
    assert done.parity.people == 6  # the group, the population and four users
    loaded = load(tmp_path / "out")
    got = loaded.scores(texts, "right")
    many = table.filter(camp="many")["user_id"].to_list()
    np.testing.assert_allclose(got - got[0], truth(reward, many).mean(0), atol=2e-4)
    np.testing.assert_array_equal(loaded.scores(texts, "right", ["camp=many"]), got)


def test_what_no_checkpoint_holds_is_an_error(backbone, fitted, tmp_path):
    reward = fitted(pl8.PAL(n_prototypes=2, utility="norm", decay=3.0), backbone("qwen2"))
    with pytest.raises(InputError, match="neither linear nor square"):
        export_custom(reward, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_backbone_s_precision_is_the_encoder_s_and_the_head_stays_exact(backbone, fitted, tmp_path):
    reward = fitted(pl8.BradleyTerry(decay=3.0), backbone("qwen2"), pooling="mean", dtype="bfloat16")
    export_custom(reward, tmp_path / "out")
    for asked, expected in (("auto", torch.bfloat16), (torch.float32, torch.float32)):
        model = PluralityForSequenceClassification.from_pretrained(tmp_path / "out", dtype=asked)
        assert {p.dtype for p in model.plurality_head.parameters()} == {torch.float32}
        assert {p.dtype for p in model.model.parameters()} == {expected}


SCRIPT = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

asked = json.load(sys.stdin)
scores = {}
for name, folder in asked["folders"].items():
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in asked["chats"]]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        scores[name] = model(**batch).logits[:, 0].tolist()
        if name == "custom":
            scores["named"] = model(**batch, user_ids=["u1"] * len(texts)).logits[:, 0].tolist()
assert "plurality" not in sys.modules
print(json.dumps(scores))
"""


def test_a_process_without_this_package_gets_the_same(made, backbone, fitted, texts, truth, tmp_path):
    reward, custom = made(*REWARDS["low rank, mean of bert"][:2], pooling="mean")
    linear = fitted(pl8.LowRank(rank=2, decay=3.0), backbone("llama", bos=True))
    export_baked(linear, tmp_path / "baked", user="u4")
    export_adapters(linear, tmp_path / "adapters", user_ids=["u4"])
    chats = [[{"role": "user", "content": p}, {"role": "assistant", "content": c}] for p, c in zip(*texts, strict=True)]
    folders = {"custom": custom, "baked": tmp_path / "baked", "base": tmp_path / "adapters" / "base"}
    asked = {"folders": {name: str(folder) for name, folder in folders.items()}, "chats": chats}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(asked), capture_output=True, text=True, env=environment,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = {name: np.array(row) - row[0] for name, row in json.loads(done.stdout).items()}
    np.testing.assert_allclose(scores["custom"], truth(reward, ["u2"])[0], atol=2e-4)
    np.testing.assert_allclose(scores["named"], truth(reward, ["u1"])[0], atol=2e-4)
    np.testing.assert_allclose(scores["baked"], truth(linear, ["u4"])[0], atol=2e-4)
    x = linear.text_encoder().encode(*texts)
    everybody = linear.utility(x, ["?"], unknown="population")[0]
    np.testing.assert_allclose(scores["base"], everybody - everybody[0], atol=2e-4)
