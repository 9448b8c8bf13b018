"""Models go to the hub and come back by the library's own code, and name nobody unless asked to."""

import json
import sys
import threading
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import huggingface_hub
import numpy as np
import polars as pl
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning
from plurality.models import PAL
from plurality.reward.model_card import CardDetails
from plurality.reward.pseudonyms import hash_user_id, pseudonymised
from plurality.reward.reward_model import RewardModel, load

KEY = "a secret that nobody guesses"
NAMES = [f"jane.doe+{i}@example.org" for i in range(15)]
FAKE = Path(__file__).with_name("fake_hub.py")


@pytest.fixture(scope="module")
def data():
    seen, _ = planted.pal(15, prototypes=2, width=6, preference=2, seed=0)
    return seen.sample(12, seed=1).data.with_users(NAMES)


@pytest.fixture(scope="module")
def model(data):
    return PAL(n_prototypes=2, preference=3, decay=3.0).fit(data)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    spec = spec_from_file_location("fake_hub", FAKE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(constants + "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants + "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants + "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants + "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants + "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants + "HF_TOKEN_PATH", str(tmp_path / "no token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_there_and_back(model, data, hub):
    url = model.push_to_hub("org/reward", token="hf_x", user_id_key=KEY)
    assert url.startswith(f"{hub.url}/org/reward/commit/")
    assert sorted(hub.files("org/reward")) == ["README.md", "config.json", "head.safetensors", "users.parquet"]
    assert hub.repos["org/reward"]["private"]
    assert hub.repos["org/reward"]["log"] == ["Reward model pal"]
    assert {token for _, path, token in hub.asked if "/models/" in path} == {"Bearer hf_x"}
    again = load("org/reward", token="hf_x")
    found = data.with_users([hash_user_id(u, KEY) for u in NAMES])
    np.testing.assert_array_equal(again.prefer(found), model.prefer(data))
    assert list(again.user_ids) == sorted(again.user_ids)
    assert dict(zip(again.user_ids, again.n_comparisons, strict=True)) == {
        hash_user_id(u, KEY): n for u, n in zip(model.user_ids, model.n_comparisons, strict=True)
    }


def test_no_id_leaves_the_house(model, hub):
    told = {"careless": [NAMES[3]], "relative": dict.fromkeys(NAMES, 1.0), "verdict": f"look at {NAMES[4]}, please"}
    replace(model, report=told).push_to_hub("org/reward")
    for name, content in hub.files("org/reward").items():
        assert b"jane" not in content, name
    config = json.loads(hub.files("org/reward")["config.json"])
    users = set(load("org/reward").user_ids)
    assert set(config["report"]["relative"]) == users
    assert set(config["report"]["careless"]) < users
    assert "keyed hashes" in hub.files("org/reward")["README.md"].decode()


def test_ids_as_they_are_if_asked(model, hub):
    model.push_to_hub("org/reward", hash_user_ids=False, private=False)
    assert load("org/reward").user_ids == model.user_ids
    assert not hub.repos["org/reward"]["private"]
    assert "user ids as they were given" in hub.files("org/reward")["README.md"].decode()


def test_a_forgotten_key_differs_every_time(model):
    a, b, c = (set(m.user_ids) for m in (pseudonymised(model), pseudonymised(model), pseudonymised(model, KEY)))
    assert not a & b
    assert c == {hash_user_id(u, KEY) for u in NAMES}


def test_a_key_that_can_be_guessed(model):
    with pytest.raises(InputError, match="9 bytes can be guessed"):
        model.push_to_hub("org/reward", user_id_key="swordfish")
    with pytest.raises(InputError, match="leave one of them out"):
        model.push_to_hub("org/reward", user_id_key=KEY, hash_user_ids=False)


def test_a_branch_and_revisions(model, hub):
    model.push_to_hub("org/reward", user_id_key=KEY)
    replace(model, user_ids=tuple(u + "x" for u in NAMES)).push_to_hub("org/reward", revision="next", user_id_key=KEY)
    first = load("org/reward").user_ids
    assert load("org/reward", revision="next").user_ids != first
    assert load("org/reward@next").user_ids == load("org/reward", revision="next").user_ids
    with pytest.raises(InputError, match="no revision 'v9'") as caught:
        load("org/reward@v9")
    one_line(caught)


def test_what_was_there_goes_and_the_encoder_comes(model, data, hub, tmp_path):
    words = ["tea", "coffee", "milk", "sugar", "lemon", "cake", "bread", "butter", "jam", "honey"]
    texts = [" ".join(np.random.default_rng(i).permutation(words)[:5]) for i in range(40)]
    encoder = LsaSpec(dim=6).fit((texts, texts))
    named = replace(model, encoder=encoder, user_ids=("tea", *NAMES[1:]))
    with pytest.warns(InputWarning, match="1 user ids are words of the encoder's vocabulary"):
        named.push_to_hub("org/reward")
    assert "encoder/encoder.safetensors" in hub.files("org/reward")
    again = load("org/reward")
    np.testing.assert_array_equal(again.text_encoder().encode(texts, texts), encoder.encode(texts, texts))
    model.push_to_hub("org/reward")
    assert not [name for name in hub.files("org/reward") if name.startswith("encoder/")]


def test_where_an_encoder_lay_is_not_told(model, hub):
    class Local:
        dim, fingerprint = 6, "f" * 64

        def describe(self):
            return {
                "kind": "transformers",
                "name": "/srv/jane/bert",
                "revision": None,
                "dim": 6,
                "fingerprint": "f" * 64,
            }

        def save(self, folder):
            folder.mkdir()
            spec = {"name": "/srv/jane/bert", "revision": None}
            (folder / "encoder.json").write_text(json.dumps({**self.describe(), "spec": spec}))

    replace(model, encoder=Local()).push_to_hub("org/reward")
    assert all(b"jane" not in content for content in hub.files("org/reward").values())
    assert load("org/reward").encoder.describe()["name"] == "bert"


def test_a_public_repository_is_no_private_place(model, hub):
    hub.put("org/open", {"README.md": b"mine"})
    with pytest.raises(InputError, match="is public on the hub; give private=False"):
        model.push_to_hub("org/open")
    assert hub.files("org/open") == {"README.md": b"mine"}
    model.push_to_hub("org/open", private=False)


def test_only_files_of_a_model_are_fetched(model, hub, tmp_path):
    model.push_to_hub("org/reward")
    odd = (
        "model.pkl",
        "modeling.py",
        "../config.json",
        "encoder/../../evil.json",
        "encoder/encoder.py",
        "a/config.json",
    )
    hub.files("org/reward").update(dict.fromkeys(odd, b"evil"))
    load("org/reward")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"]
    assert not [path for _, path, _ in hub.asked if "evil" in path or path.endswith((".py", ".pkl"))]


def test_a_folder_that_is_here_wins(model, hub, tmp_path):
    model.push_to_hub("org/reward")
    model.save_pretrained(tmp_path / "org" / "reward")
    hub.asked.clear()
    assert load("org/reward").user_ids == model.user_ids
    assert hub.asked == []
    with pytest.raises(InputError, match="is a local path, and revision= is for hub ids"):
        load("org/reward", revision="main")


@pytest.mark.parametrize(
    "name", ["reward", "a/b/c", "./org/reward", "/org/reward", "org/.hid", "a--b/c", "a/b..c", "a/b.git"]
)
def test_paths_are_not_asked_of_the_hub(name, model, hub):
    with pytest.raises(InputError, match="no fitted model here"):
        load(name)
    with pytest.raises(InputError, match="is not a hub id"):
        model.push_to_hub(name)
    with pytest.raises(InputError, match="no fitted model here"):
        load(Path("org/reward"))
    assert hub.asked == []


FAILURES = {
    "gated": ((403, "GatedRepo"), "is gated; ask for access"),
    "private or gone": ((401, "RepoNotFound"), "has no org/reward that you may see"),
    "down": ((500, "Broken"), "cannot be reached, its cache has no org/reward"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_hub_that_does_not_give_it(case, hub):
    hub.failures["org/reward"], text = FAILURES[case]
    with pytest.raises(InputError, match=text) as caught:
        load("org/reward")
    assert one_line(caught).startswith("org/reward: no such folder here, and")


def test_a_hub_that_does_not_take_it(model, hub):
    hub.failures["org/reward"] = (403, "Forbidden")
    with pytest.raises(InputError, match=r"the hub answers 403 .*log in") as caught:
        model.push_to_hub("org/reward")
    one_line(caught)


def test_offline_what_was_fetched_is_found(model, hub, monkeypatch):
    model.push_to_hub("org/reward")
    known = load("org/reward").user_ids
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load("org/reward").user_ids == known
    with pytest.raises(InputError, match="cannot be reached, its cache has no org/other") as caught:
        load("org/other")
    one_line(caught)
    with pytest.raises(InputError, match="the hub cannot be used") as caught:
        model.push_to_hub("org/other")
    one_line(caught)


def test_no_library(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for use in (lambda: load("org/nowhere"), lambda: model.push_to_hub("org/nowhere")):
        with pytest.raises(InputError, match=r"pip install 'plurality-rm\[hf\]'"):
            use()


@pytest.mark.parametrize(
    ("lose", "text"),
    [
        (lambda files: files.pop("head.safetensors"), r"holds no plurality model \(head.safetensors is missing\)"),
        (lambda files: files.clear() or files.update({"x.bin": b""}), r"holds no plurality model \(config.json"),
        (lambda files: files.update({"head.safetensors": b"half"}), "head.safetensors is truncated"),
        (lambda files: files.update({"config.json": b"{}"}), "not a model's configuration"),
    ],
)
def test_a_repository_without_a_whole_model(lose, text, model, hub):
    model.push_to_hub("org/reward")
    lose(hub.files("org/reward"))
    with pytest.raises(InputError, match=text) as caught:
        load("org/reward")
    assert "reward" in one_line(caught)


def test_the_card_on_the_hub(model, hub):
    model.push_to_hub("org/reward", card=CardDetails(license="mit", data="Simulated people."))
    card = huggingface_hub.ModelCard(hub.files("org/reward")["README.md"].decode())
    assert card.data.license == "mit"
    assert 'pl8.load("org/reward")' in card.text
    assert isinstance(RewardModel.from_pretrained("org/reward"), RewardModel)
    assert pl.read_parquet(hub.files("org/reward")["users.parquet"])["user_id"].str.len_chars().unique().to_list() == [
        32
    ]
