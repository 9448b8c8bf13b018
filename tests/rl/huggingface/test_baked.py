"""Baked exports read as rewardbench and TRL read them, against the toolkit's own utilities."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import plurality as pl8
from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl.huggingface import export_baked, export_custom
from plurality.rl.huggingface.parity import REPORT

LOW = pl8.LowRank(rank=2, decay=3.0)
ENDS = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
BACKBONES = {
    "qwen2, pad is eos": {},
    "qwen2, pad is none": {"pad": None},
    "qwen2, text ends in eos": {"chat": ENDS},
    "llama, bos in template": {"family": "llama", "bos": True, "pad": "[PAD]"},
    "llama, no template": {"family": "llama", "bos": True, "chat": None},
}


def read_as(folder, texts, *, side, special, together=True):
    """Logits as a program gets them that applies the chat template and tokenises, with or without special tokens."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = side
    chats = [[{"role": "user", "content": p}, {"role": "assistant", "content": c}] for p, c in zip(*texts, strict=True)]
    written = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    batches = [written] if together else [[text] for text in written]
    logits = []
    for part in batches:
        batch = tokenizer(part, truncation=True, padding=True, add_special_tokens=special, return_tensors="pt")
        with torch.no_grad():
            logits.append(model(**batch).logits)
    scores = torch.cat(logits)
    assert scores.shape == (len(written), 1)
    return (scores - scores[0])[:, 0].numpy()


@pytest.mark.parametrize("settings", BACKBONES.values(), ids=BACKBONES)
def test_every_program_gets_the_toolkit_s_gaps(settings, backbone, fitted, texts, truth, tmp_path):
    reward = fitted(LOW, backbone(**settings))
    done = export_baked(reward, tmp_path / "out", user="u3")
    expected = truth(reward, ["u3"])[0]
    assert np.ptp(expected) > 0.2
    for side, special, together in (
        ("left", True, True),  # rewardbench
        ("right", False, True),  # TRL
        ("right", True, False),  # one text at a time
    ):
        got = read_as(tmp_path / "out", texts, side=side, special=special, together=together)
        np.testing.assert_allclose(got, expected, atol=2e-4)
    assert done.parity.max_difference < 1e-4
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert report["parity"]["max_difference"] == done.parity.max_difference
    assert report["whose"] == "user u3"


def test_the_score_is_the_gradient_and_padding_a_token_of_its_own(backbone, fitted, tmp_path):
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    reward = fitted(LOW, backbone())
    export_baked(reward, tmp_path / "out", user="u1")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    x = torch.zeros(1, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        reward.head.population(reward.head.features(x, None), reward.codes(["u1"]).float()).sum(), x
    )
    torch.testing.assert_close(model.score.weight.detach(), gradient, rtol=1e-4, atol=1e-5)
    config, tokenizer = AutoConfig.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert config.pad_token_id < model.get_input_embeddings().weight.shape[0]
    assert config.num_labels == 1


def test_a_group_has_the_mean_utility_of_its_users_and_the_population_the_prior_s(
    backbone, fitted, table, texts, truth, tmp_path
):
    reward = fitted(LOW, backbone())
    export_baked(reward, tmp_path / "group", group=("camp", "few"), users=table)
    few = table.filter(camp="few")["user_id"].to_list()
    got = read_as(tmp_path / "group", texts, side="right", special=False)
    np.testing.assert_allclose(got, truth(reward, few).mean(0), atol=2e-4)
    export_baked(reward, tmp_path / "all")
    x = reward.text_encoder().encode(*texts)
    everybody = reward.utility(x, ["nobody"], unknown="population")[0]
    got = read_as(tmp_path / "all", texts, side="right", special=False)
    np.testing.assert_allclose(got, everybody - everybody[0], atol=2e-4)


def test_a_unit_s_value_is_a_group_without_a_table(backbone, fitted, texts, truth, tmp_path):
    reward = fitted(pl8.LowRank(rank=1, decay=3.0, unit="camp"), backbone())
    export_baked(reward, tmp_path / "out", group=("camp", "many"))
    got = read_as(tmp_path / "out", texts, side="right", special=False)
    np.testing.assert_allclose(got, truth(reward, ["many"])[0], atol=2e-4)


def test_a_reward_from_disk_exports_the_same_also_when_its_backbone_moved(backbone, fitted, tmp_path):
    folder = backbone()
    reward = fitted(LOW, folder)
    reward.save_pretrained(tmp_path / "reward")
    moved = folder.rename(folder.with_name(folder.name + "-moved"))
    loaded = pl8.load(tmp_path / "reward")
    with pytest.raises(InputError, match="does not exist"):
        export_baked(loaded, tmp_path / "out", user="u0")
    with pytest.raises(InputError, match="is not the one this encoder was saved with"):
        export_baked(loaded, tmp_path / "out", user="u0", backbone=backbone("llama"))
    assert export_baked(loaded, tmp_path / "out", user="u0", backbone=moved).parity.max_difference < 1e-4


def test_what_a_classifier_cannot_hold_is_an_error_with_the_kind_that_can(backbone, fitted, people, table, tmp_path):
    cases = [
        (fitted(LOW, backbone("qwen2"), pooling="mean"), "pooling 'mean'.*choose kind custom"),
        (fitted(LOW, backbone("qwen2", normalise=True)), "unit length.*choose kind custom"),
        (fitted(LOW, backbone("bert"), pooling="last"), "more than one linear map.*choose kind custom"),
        (fitted(pl8.PAL(n_prototypes=2, decay=3.0), backbone()), "squares.*choose kind custom"),
        (LOW.fit(pl8.read(people, encoder=LsaSpec(dim=8))), "encoder is lsa, which is no transformer"),
    ]
    for reward, message in cases:
        with pytest.raises(InputError, match=message):
            export_baked(reward, tmp_path / "out", user="u0")
    reward = cases[0][0]
    rows = pl.DataFrame(
        {"user_id": ["u0", "u1"] * 4, "prompt": [0] * 8, "chosen": range(8), "rejected": [*range(1, 8), 0]}
    )
    vectors = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    ready_made = pl8.BradleyTerry(decay=3.0).fit(pl8.read(rows, embeddings=vectors))
    for arguments, message in (
        ({"user": "nobody"}, "'nobody'"),
        ({"user": "u0", "group": ("camp", "few")}, "of a user or of a group"),
        ({"group": ("camp", "few")}, "give it as users="),
        ({"group": ("camp", "none"), "users": table}, "no user has camp=none; there are 'few', 'many'"),
        ({"group": ("age", "9"), "users": table}, "no column 'age'"),
    ):
        with pytest.raises(InputError, match=message):
            export_baked(reward, tmp_path / "out", **arguments)
    with pytest.raises(InputError, match="ready-made embeddings"):
        export_baked(ready_made, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_disagrees_leaves_nothing_and_what_was_there(backbone, fitted, tmp_path, monkeypatch):
    from plurality.rl.huggingface import checkpoint

    reward = fitted(LOW, backbone())
    export_baked(reward, tmp_path / "out", user="u0")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    honest = checkpoint.set_score
    monkeypatch.setattr(checkpoint, "set_score", lambda model, weight: honest(model, 1.01 * weight))
    for out in ("out", "new"):
        with pytest.raises(InputError, match="utility gaps differ from the toolkit's"):
            export_baked(reward, tmp_path / out, user="u2")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_absolute_positions_are_warned_of(backbone, fitted, tmp_path):
    reward = fitted(LOW, backbone("gpt2"))
    done = export_baked(reward, tmp_path / "out", user="u0")
    assert done.parity.left_padding > 0.01
    assert any("pad on the right" in note for note in done.notes)


def test_a_half_precision_encoder_is_compared_in_full_and_loaded_in_half(backbone, fitted, tmp_path):
    from transformers import AutoModelForSequenceClassification

    reward = fitted(LOW, backbone(), dtype="bfloat16")
    done = export_baked(reward, tmp_path / "out", user="u0")
    assert done.parity.max_difference < 1e-4
    assert any("bfloat16" in note for note in done.notes)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


def test_probes_too_long_for_the_encoder_are_left_out(backbone, fitted, tmp_path):
    reward = fitted(LOW, backbone(), max_length=100)
    probes = (["Why?"] * 3, ["So.", "Thus.", "long " * 99])
    assert export_baked(reward, tmp_path / "out", user="u0", probes=probes).parity.probes == 2
    with pytest.raises(InputError, match="1 probes fit in max_length=100 tokens"):
        export_baked(reward, tmp_path / "out", user="u0", probes=(["Why?"] * 2, ["So.", "long " * 99]))


def test_a_reward_on_a_base_that_is_linear_in_the_hidden_state_is_baked_with_it(backbone, fitted, texts, tmp_path):
    reward = replace(fitted(LOW, backbone()), base=0.7)
    base = np.random.default_rng(0).normal(size=16)
    export_baked(reward, tmp_path / "out", user="u1", base_weights=base)
    items = reward.text_encoder().encode(*texts)
    expected = reward.utility(items, ["u1"], base=items @ base)[0]
    found = read_as(tmp_path / "out", texts, side="right", special=False)
    np.testing.assert_allclose(found, expected - expected[0], atol=2e-4)
    with pytest.raises(InputError, match="give its weights as base_weights="):
        export_baked(reward, tmp_path / "bare", user="u1")
    with pytest.raises(InputError, match="16 finite numbers"):
        export_baked(reward, tmp_path / "bare", user="u1", base_weights=base[:3])
    with pytest.raises(InputError, match="kind custom cannot hold"):
        export_custom(reward, tmp_path / "bare")
    assert not (tmp_path / "bare").exists()
