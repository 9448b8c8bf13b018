"""An embedding server as an encoder: the vectors that it gives, in every way that it may answer, and no other's."""

import asyncio
import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.encoders import EmbeddingServer, ServerEncoder, create, load
from plurality.encoders.probe import probe_distance
from plurality.encoders.standing import recorded_probe
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError, InputWarning
from plurality.rl.reward_function import AsyncRewardFunction, RewardFunction

SPEC = importlib.util.spec_from_file_location("embedding_server", Path(__file__).with_name("embedding_server.py"))
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)
WORDS = ["red", "blue", "green", "sour", "sweet", "salty", "loud", "quiet", "soft", "hard"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    made = fake.Server()
    yield made
    made.stop()


def settings(server, **more):
    return EmbeddingServer(server.url, **{"model": "tiny", "backoff_s": 0.0, **more})


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(n)]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_vectors_are_the_servers_in_any_order(server, encoding):
    encoder = ServerEncoder(settings(server, encoding=encoding, batch=3, template="completion"), cache=False)
    said = texts(10)
    want = np.array([fake.vector(text) for text in said], dtype=np.float32)
    np.testing.assert_allclose(encoder.encode([""] * 10, said), want, rtol=1e-6)
    assert encoder.dim == fake.DIM
    assert max(len(asked["input"]) for asked in server.asked[3:]) == 3
    talk = ServerEncoder(settings(server), cache=False)
    assert talk.texts(["hi"], ["you"]) == ["hi\n\nyou"]


def test_the_only_model_of_a_server_needs_no_name(server):
    assert create(server.url, cache=False).describe()["name"] == "tiny"


def test_a_text_is_embedded_once(server, tmp_path):
    said = texts(20)
    first = create(settings(server), cache=tmp_path).encode(["p"] * 20, said)
    heard = len(server.texts)
    second = create(settings(server), cache=tmp_path).encode(["p"] * 20, said)
    assert len(server.texts) == heard + 8  # the probe
    np.testing.assert_array_equal(first, second)
    server.pooling = "last"
    with pytest.raises(InputError, match="beside the cache"):
        create(settings(server), cache=tmp_path)


def test_failures_are_tried_again_and_nothing_is_lost(server):
    encoder = ServerEncoder(settings(server), cache=False)
    server.fails = [(429, "busy", [("Retry-After", "0")]), (500, "oops"), (200, '{"data": [{"index": 0, "embed')]
    np.testing.assert_allclose(encoder.encode([""], ["red"])[0], fake.vector("red"), rtol=1e-6)
    server.fails = [(500, "oops")] * 4
    with pytest.raises(InputError, match=r"after 4 tries .*oops"):
        encoder.encode([""], ["red"])


def test_the_key_stays_where_it_is(server, monkeypatch, tmp_path, caplog):
    """Not in an address, a store, a message or a log; not at another host, nor at one that only a folder names."""
    monkeypatch.setenv("MY_KEY", "s3cret")
    caplog.set_level(logging.DEBUG)
    encoder = ServerEncoder(settings(server, key_variable="MY_KEY"), cache=tmp_path / "cache")
    assert set(server.keys) == {"Bearer s3cret"}
    encoder.save(tmp_path / "kept")
    server.fails = [(401, "no such key: s3cret")]
    with pytest.raises(InputError, match=r"no such key: \*\*\*") as told:
        encoder.encode([""], ["red"])
    other = fake.Server()
    server.fails = [(307, "", [("Location", other.url)])]
    with pytest.raises(InputError, match="points elsewhere"):
        encoder.encode([""], ["blue"])
    other.stop()
    assert other.heard == 0
    monkeypatch.setenv("PLURALITY_ENCODER_KEY", "s3cret")
    load(tmp_path / "kept", cache=False).encode([""], ["green"])
    assert server.keys[-1] is None
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(
        b"s3cret" in raw for raw in (*files, caplog.text.encode(), str(told.value).encode(), repr(encoder).encode())
    )
    for url in ("http://me:s3cret@host/v1/embeddings", "http://host/v1/embeddings?api_key=s3cret"):
        with pytest.raises(InputError, match="password or key") as told:
            EmbeddingServer(url)
        assert "s3cret" not in str(told.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY holds no key"):
        encoder.encode([""], ["sour"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "last"}, "off by"),
        ({"normalise": True}, "a normalisation"),
        ({"side": "right"}, "the end that is cut"),
        ({"obeys": False}, "read .* tokens|a limit of tokens"),
        ({"width": 4}, "width 8"),
    ],
)
def test_another_encoder_is_refused_before_anything_is_scored(server, tmp_path, change, message):
    ServerEncoder(settings(server, max_length=60), cache=False).save(tmp_path)
    stored = load(tmp_path, cache=False)
    for name, value in change.items():
        vars(server)[name] = value
    before = len(server.texts)
    with pytest.raises(InputError, match=message):
        stored.encode([""], ["red"])
    assert "red" not in server.texts[before:]


def test_rounding_is_not(server, tmp_path):
    ServerEncoder(settings(server), cache=False).save(tmp_path)
    server.rounded = 2**-6  # four times what one rounding to bfloat16 does
    load(tmp_path, cache=False).encode([""], ["red"])


def test_a_recorded_server_elsewhere_is_told(server, tmp_path):
    ServerEncoder(settings(server), cache=False).save(tmp_path)
    record = json.loads((tmp_path / "encoder.json").read_text())
    record["server"]["url"] = "http://nowhere.invalid/v1/embeddings"
    record["server"]["retries"] = 0
    (tmp_path / "encoder.json").write_text(json.dumps(record))
    moved = load(tmp_path, cache=False)
    with pytest.warns(InputWarning, match="nowhere.invalid"), pytest.raises(InputError, match="is the server up"):
        moved.encode([""], ["red"])
    here = load(tmp_path, cache=False, name=server.url)
    np.testing.assert_allclose(here.encode([""], ["red"])[0], fake.vector("red"), rtol=1e-6)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    one, two = rng.choice(WORDS, 400), rng.choice(WORDS, 400)
    other = np.where(one == two, "nothing", two)
    return pl.DataFrame(
        {
            "user_id": [f"u{i % 6}" for i in range(400)],
            "prompt": [f"Which {i % 40}?" for i in range(400)],
            "chosen": one,
            "rejected": other,
        }
    ).unique(maintain_order=True)


def test_from_texts_to_rewards(server, table, tmp_path):
    """Read, save, load without the server, fit, score at another address, adapt, as a reward function both ways."""
    data = pl8.read(table, encoder=settings(server), cache=False)
    data.save(tmp_path / "store")
    pl8.BradleyTerry().fit(pl8.Comparisons.load(tmp_path / "store")).save_pretrained(tmp_path / "model")
    server.stop()
    model = pl8.load(tmp_path / "model")
    assert model.encoder.describe()["url"] == server.url
    assert recorded_probe(model.encoder).shape == (8, fake.DIM)
    with pytest.raises(InputError, match="is the server up"):
        RewardFunction(pl8.load(tmp_path / "model", encoder=settings(server, retries=0)))(
            ["Which?"], ["red"], user_id="u0"
        )
    again = fake.Server()
    elsewhere = pl8.load(tmp_path / "model", encoder=again.url)
    said = list(WORDS)
    want = model.score(np.array([fake.vector(f"Which?\n\n{w}") for w in said]), np.arange(10), ["u0"] * 10)
    for rewards in (
        RewardFunction(elsewhere)(["Which?"] * 10, said, user_id=["u0"] * 10),
        RewardFunction(model, again.url)(["Which?"] * 10, said, user_id=["u0"] * 10),
        asyncio.run(AsyncRewardFunction(model, again.url)(["Which?"] * 10, said, user_id=["u0"] * 10)),
        asyncio.run(AsyncRewardFunction(elsewhere)(["Which?"] * 10, said, user_id=["u0"] * 10)),
    ):
        np.testing.assert_allclose(rewards, want, atol=1e-5)
    elsewhere.adapt(
        pl8.read(
            table.with_columns(user_id=pl.lit("new")).unique(maintain_order=True), encoder=elsewhere.text_encoder()
        )
    )
    elsewhere.save_pretrained(tmp_path / "again")
    assert pl8.load(tmp_path / "again").encoder.fingerprint == model.encoder.fingerprint
    again.stop()


def test_commands_that_embed_take_another_address(server, table, tmp_path, command):
    """What they find is what they found at the first one, which is gone."""
    table.write_parquet(tmp_path / "rows.parquet")
    data = pl8.read(table, encoder=settings(server), cache=False)
    data.save(tmp_path / "store")
    pl8.BradleyTerry(decay=1.0, temperature=True).fit(data).save_pretrained(tmp_path / "model")
    server.stop()
    again = fake.Server()
    where = ["--encoder", again.url]
    for name, source in (("told", "rows.parquet"), ("stored", "store")):
        out = tmp_path / f"{name}.parquet"
        done = command("annotate", tmp_path / source, "--reward", tmp_path / "model", "--out", out, *where)
        assert done.code == 0, done.err
    told, stored = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("told", "stored"))
    np.testing.assert_allclose(told["margin"], stored["margin"], atol=1e-5)
    looked = {}
    for source in ("rows.parquet", "store"):
        done = command("explain", tmp_path / "model", tmp_path / source, "--json", *where)
        assert done.code == 0, done.err
        looked[source] = json.loads(done.out)["directions"]
    assert looked["rows.parquet"] == looked["store"]
    for source in ("rows.parquet", "store"):
        out = tmp_path / f"adapted-{source}"
        assert command("adapt", tmp_path / "model", tmp_path / source, "--out", out, *where).code == 0
    one, other = (pl8.load(tmp_path / f"adapted-{source}").users for source in ("rows.parquet", "store"))
    assert one.equals(other)
    again.stop()


def test_a_local_model_served(llama, tmp_path):
    """The probe of a transformer tells a server that pools or rounds otherwise; bfloat16 is no other model."""
    from plurality.encoders import TransformersEncoder, TransformersSpec
    from plurality.encoders.probe import probed

    folder = llama()
    one = TransformersEncoder(TransformersSpec(str(folder)), cache=False)
    with pytest.warns(InputWarning, match="exceed"):  # noqa: PT031
        half = probed(TransformersEncoder(TransformersSpec(str(folder), dtype="bfloat16"), cache=False))
        pooled = probed(TransformersEncoder(TransformersSpec(str(folder), pooling="mean"), cache=False))
        other = probed(TransformersEncoder(TransformersSpec(str(llama(seed=1))), cache=False))
    one.save(tmp_path)
    stored = recorded_probe(StoredEncoder(tmp_path, json.loads((tmp_path / "encoder.json").read_text())))
    assert probe_distance(half, stored) < 0.15
    assert min(probe_distance(pooled, stored), probe_distance(other, stored)) > 0.15
