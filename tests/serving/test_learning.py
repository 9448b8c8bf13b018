"""A server that learns: what was answered counts at once, once, for ever, and for nobody else."""

import asyncio
import dataclasses
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import polars as pl
import pytest

import plurality
from plurality.client import AsyncClient
from plurality.errors import InputError
from plurality.serving.app import Learning
from plurality.serving.learning import Learner
from plurality.serving.state import Told, open_state
from tests.serving.world import PROMPT, World, adapted, transport


@pytest.fixture
def state(tmp_path):
    state = open_state(str(tmp_path / "users.db"))
    yield state
    state.close()


def talk(app, conversation):
    async def main():
        async with asyncio.timeout(3000), AsyncClient("http://server", transport=transport(app), retries=0) as client:
            return await conversation(client)

    return asyncio.run(main())


ANSWERS = [
    {"prompt": PROMPT, "chosen": "1 0", "rejected": "0 1"},
    {"prompt": PROMPT, "completions": ["1 1", "0 0", "2 0"], "chosen": 2},
    {"prompt": PROMPT, "ranking": ["2 0", "1 0", "0 0"]},
    {"prompt": PROMPT, "completion": "3 0", "rating": 5},
    {"prompt": PROMPT, "completion": "0 3", "rating": 1},
    {"prompt": PROMPT, "chosen": "1 2", "rejected": "1 3", "label": 0.5},
]


def test_rewards_after_feedback_are_those_of_adapt(world, state):
    async def conversation(client):
        before = await client.score(["ann", "bob"], [PROMPT] * 2, ["2 0"] * 2)
        for answer in ANSWERS:
            taken = await client.feedback("ann", [answer])
        after = await client.score(["ann", "bob", "fitted3"], [PROMPT] * 3, ["2 0", "2 0", "2 0"])
        return before, taken, after, await client.best_of_n("ann", PROMPT, ["0 1", "2 0", " "])

    before, taken, after, best = talk(world.app(state), conversation)
    rows = [dict(row) for row in ANSWERS]
    rows[1]["chosen"] = "2 0"
    rows[0]["label"] = 1.0
    model = adapted(world, "ann", rows)
    expected = model.score(np.array([[2.0, 0.0]]), [0, 0, 0], ["ann", "bob", "fitted3"], unknown="population")
    np.testing.assert_allclose(after.rewards, expected, rtol=1e-5)
    assert (before.known, after.known) == ([False, False], [True, False, True])
    assert before.rewards[0] == before.rewards[1] == pytest.approx(after.rewards[1]) != after.rewards[0]
    assert (taken.answers, taken.counted) == (6, True)
    assert taken.uncertainty == pytest.approx(model.users.row(-1, named=True)["uncertainty"])
    assert (best.index, best.completion, best.rewards[2]) == (1, "2 0", None)


def test_a_request_that_is_sent_again_counts_once(world, state):
    async def conversation(client):
        pair = world.pair(np.random.default_rng(1))
        first, *others = await asyncio.gather(*(client.feedback("ann", [pair], request_id="one") for _ in range(5)))
        with pytest.raises(InputError, match="other content"):
            await client.feedback("ann", [{**pair, "label": 0.5}], request_id="one")
        return [first, *others]

    taken = talk(world.app(state), conversation)
    assert sorted(t.counted for t in taken) == [False] * 4 + [True]
    assert {t.answers for t in taken} == {state.counts()["answers"]} == {1}


def test_the_code_is_a_function_of_all_answers_whoever_took_them(world, state):
    """Two workers on one state, in turns: each knows what the other was told, and a third that starts later too."""
    workers = [Learner(world.model, state), Learner(world.model, open_state(str(state._reads.url.database)))]
    rng, rows = np.random.default_rng(2), []
    for i in range(12):
        rows.append(world.pair(rng))
        workers[i % 2].tell([Told("ann", str(i), (rows[-1],))])
    expected = adapted(world, "ann", rows).codes(["ann"]).numpy()
    for learner in (*workers, Learner(world.model, state)):
        np.testing.assert_allclose(learner.of(["ann", "nobody"]).codes(["ann"]).numpy(), expected, rtol=1e-6)
    workers[0].keep()
    later = Learner(world.model, state)
    calls = world.encoder.calls
    np.testing.assert_allclose(later.of(["ann"]).codes(["ann"]).numpy(), expected, rtol=1e-6)
    assert world.encoder.calls == calls  # the code that was kept, not inferred anew
    workers[1].state.close()


def test_codes_are_there_when_answers_are_written(world, state, monkeypatch):
    """Inferred once, beforehand; who asks at once has the new code, and nothing is inferred for it."""
    learner, rng = Learner(world.model, state), np.random.default_rng(4)
    told = [Told(f"u{i}", f"r{i}", (world.pair(rng),), {"country": "Ghana"}) for i in range(3)]
    learner.tell(told)
    monkeypatch.setattr(learner, "_inferred", None)
    found = learner.of(["u0", "u1", "u2"]).codes(["u0", "u1", "u2"])
    for one, code in zip(told, found, strict=True):
        expected = adapted(world, one.user_id, [*one.rows]).codes([one.user_id])[0]
        np.testing.assert_allclose(code, expected, rtol=1e-6)


@pytest.mark.parametrize("meanwhile", ["told", "erased", "sent again", "twice at once"])
def test_a_code_inferred_beforehand_does_not_outlive_what_happens_meanwhile(world, state, monkeypatch, meanwhile):
    """Between its inference and the write another worker writes, or erases the user; or nothing new is written."""
    learner, other = Learner(world.model, state), open_state(str(state._reads.url.database))
    rng, add = np.random.default_rng(5), state.add
    first, second, third = ({**world.pair(rng)} for _ in range(3))
    user = "fitted1" if meanwhile == "erased" else "ann"
    learner.tell([Told(user, "1", (first,))] if user == "ann" else [])
    told = [Told(user, "1" if meanwhile == "sent again" else "2", (first if meanwhile == "sent again" else second,))]
    told += [Told(user, "3", (third,))] if meanwhile == "twice at once" else []

    def late(told):
        if meanwhile == "told":
            other.add([Told(user, "0", (third,))])
        if meanwhile == "erased":
            other.erase(user)
        return add(told)

    monkeypatch.setattr(state, "add", late)
    learner.tell(told)
    rows = [row for _, _, row in state.said([user])]
    assert len(rows) == {"told": 3, "erased": 1, "sent again": 1, "twice at once": 3}[meanwhile]
    afresh = Learner(world.model, state)
    expected = afresh.of([user]).codes([user])
    np.testing.assert_allclose(learner.of([user]).codes([user]), expected, rtol=1e-9)
    if user == "ann":
        np.testing.assert_allclose(expected, adapted(world, user, rows).codes([user]), rtol=1e-6)
    other.close()


def test_what_cannot_be_learned_from_costs_no_other(world, state):
    """Of answers that come at once, one with a base score that the model has no use for is an error and not stored."""
    good = {"prompt": PROMPT, "chosen": "1 0", "rejected": "0 1"}
    bad = {**good, "score_chosen": 1.0, "score_rejected": 0.0}

    async def conversation(client):
        said = [client.feedback(f"u{i}", [bad if i == 1 else good]) for i in range(3)]
        return await asyncio.gather(*said, return_exceptions=True)

    first, failed, last = talk(world.app(state), conversation)
    assert (first.answers, last.answers) == (1, 1)
    assert "no base reward" in str(failed)
    assert state.answers_of(["u0", "u1", "u2"]) == {"u0": 1, "u2": 1}


@pytest.mark.parametrize("n", [150, pytest.param(10_000, marks=pytest.mark.slow)])  # answers, and as many rewards
def test_many_users_at_once_lose_and_mix_nothing(world, state, n):
    """Rewards and answers of 20 users interleaved, by 16 clients; then every code is that of the user's own answers."""
    rng, told = np.random.default_rng(3), {}
    jobs = [(f"u{rng.integers(20)}", world.pair(rng), str(i)) for i in range(n)]
    turn = iter(jobs)

    async def work(client):
        for user, pair, name in turn:
            told.setdefault(user, {})[name] = pair
            taken = await client.feedback(user, [pair], request_id=name)
            scored = await client.score([user], [PROMPT], ["1 1"])
            assert (taken.counted, scored.known) == (True, [True])

    async def conversation(client):
        await asyncio.gather(*(work(client) for _ in range(16)))
        users = sorted(told)
        return users, await client.score(users, [PROMPT] * len(users), ["1 1"] * len(users))

    users, scored = talk(world.app(state), conversation)
    assert state.counts()["answers"] == n
    rows = [{"user_id": user, **pair} for user in users for pair in told[user].values()]
    support = plurality.read(pl.DataFrame(rows), encoder=world.encoder, repeats="keep")
    expected = world.model.adapt(support).score(np.array([[1.0, 1.0]]), [0] * len(users), users)
    np.testing.assert_allclose(scored.rewards, expected, rtol=1e-4)


WRITER = """
import sys
from plurality.serving.state import Told, open_state
state = open_state(sys.argv[1])
for i in range(100_000):
    state.add([Told("ann", str(i), ({"prompt": "Which?", "chosen": "1 0", "rejected": "0 1"},))])
    print(i, flush=True)
"""


def test_an_acknowledged_answer_survives_a_kill(tmp_path):
    path = str(tmp_path / "users.db")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        assert writer.stdout.readline()
    writer.kill()
    heard = 20 + len(writer.communicate(timeout=60)[0].split())
    state = open_state(path)
    assert heard <= state.counts()["answers"] <= heard + 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    state.close()


def test_two_writers_lose_no_update(world, tmp_path):
    """Threads with a state each, all of one user."""

    def write(k):
        state = open_state(str(tmp_path / "users.db"))
        for i in range(20):
            state.add([Told("ann", f"{k}-{i}", ({"prompt": PROMPT, "chosen": "1 0", "rejected": "0 1"},))])
        state.close()

    open_state(str(tmp_path / "users.db")).close()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    state = open_state(str(tmp_path / "users.db"))
    numbers = [number for number, _, _ in state.said(["ann"])]
    assert len(numbers) == 80
    assert state.last_answers(["ann"]) == {"ann": max(numbers)}
    state.close()


def test_what_is_known_in_words_and_erased(world, state, tmp_path):
    async def conversation(client):
        await client.feedback("ann/é", ANSWERS, about={"country": "Ghana"}, request_id="r")
        known = await client.user("ann/é")
        count = await client.erase("ann/é")
        with pytest.raises(InputError, match="nothing is known"):
            await client.user("ann/é")
        with pytest.raises(InputError, match="erased"):
            await client.feedback("ann/é", ANSWERS, about={"country": "Ghana"}, request_id="r")
        fitted = await client.score(["fitted1"], [PROMPT], ["1 1"])
        await client.erase("fitted1")
        return known, count, fitted, await client.score(["fitted1", "x"], [PROMPT] * 2, ["1 1"] * 2)

    known, count, fitted, after = talk(world.app(state), conversation)
    assert (known.answers, known.about, count) == (6, {"country": "Ghana"}, 6)
    assert "ann/é gave 6 answers here" in known.words
    assert "country: Ghana" in known.words
    assert after.rewards[0] == after.rewards[1] != fitted.rewards[0]  # not by what the model was fitted on either
    assert after.known == [False, False]
    assert [row["action"] for row in state.logged()] == ["feedback", "read", "erased", "erased"]
    assert not any(row["user_id"] for row in state.logged())
    state.close()
    for file in tmp_path.glob("users.db*"):
        assert not any(word.encode() in file.read_bytes() for word in ("ann/é", "Ghana"))


def test_a_refitted_model_is_loaded_without_a_lost_answer(world, state):
    refitted = dataclasses.replace(world.model, prior=world.model.prior.scaled(4.0))
    other = World(refitted, world.texts, world.encoder)
    made = [dataclasses.replace(world.live(state)), other.live(state)]

    async def conversation(client):
        await client.feedback("ann", ANSWERS[:1])
        await client.feedback("fitted1", ANSWERS[:1])
        await asyncio.gather(client.reload(), *(client.feedback("ann", [pair]) for pair in ANSWERS[2:3]))
        first = await client.score(["ann", "fitted1"], [PROMPT] * 2, ["1 1"] * 2)
        await client.reload(fitted_through=state.counts()["last_answer"])
        return first, await client.score(["ann", "fitted1"], [PROMPT] * 2, ["1 1"] * 2)

    app = world.app(state, Learning(load=lambda: made[1]))
    first, second = talk(app, conversation)
    at = np.array([[1.0, 1.0]])
    ann = adapted(other, "ann", [ANSWERS[0], {**ANSWERS[2]}]).score(at, [0], ["ann"])
    np.testing.assert_allclose([first.rewards[0], second.rewards[0]], [*ann, *ann], rtol=1e-5)
    twice = adapted(other, "fitted1", ANSWERS[:1]).score(at, [0], ["fitted1"])
    np.testing.assert_allclose(first.rewards[1], *twice, rtol=1e-5)
    np.testing.assert_allclose(second.rewards[1], *other.model.score(at, [0], ["fitted1"]), rtol=1e-5)


def test_an_export_is_read(world, state, tmp_path):
    async def conversation(client):
        await client.feedback("ann", ANSWERS, about={"age": "40"})
        return await client.export()

    (tmp_path / "answers.parquet").write_bytes(talk(world.app(state), conversation))
    data = plurality.read(tmp_path / "answers.parquet", encoder=world.encoder, repeats="keep")
    expected = adapted(world, "ann", [{**ANSWERS[0], "label": 1.0}, {**ANSWERS[1], "chosen": "2 0"}, *ANSWERS[2:]])
    np.testing.assert_allclose(world.model.adapt(data).codes(["ann"]), expected.codes(["ann"]), rtol=1e-6)


BAD = [
    ({"prompt": PROMPT, "chosen": "1 0"}, "answers.0: give chosen and rejected"),
    ({"prompt": PROMPT, "chosen": "1 0", "rejected": "1 0"}, "two different texts"),
    ({"prompt": PROMPT, "completions": ["1 0", "1 1"], "chosen": 2}, "chosen is none of completions"),
    ({"prompt": PROMPT, "completions": ["1 0", "1 0"], "chosen": 0}, "given twice"),
    ({"prompt": PROMPT, "completion": "1 0", "label": 0.5}, "a label is 1 or 0"),
    ({"prompt": PROMPT, "chosen": "1 0", "rejected": "2 0", "weight": 3}, "answers.0.weight"),
    ({"prompt": " ", "completion": "1 0", "label": 1}, "answers.0.prompt"),
    ({"prompt": PROMPT, "completion": "1 0", "rating": 1, "score": 1.0}, "no base reward"),
]


@pytest.mark.parametrize(("answer", "message"), BAD)
def test_bad_answers_are_not_stored(world, state, answer, message):
    with pytest.raises(InputError, match=message):
        talk(world.app(state), lambda client: client.feedback("ann", [answer]))
    assert state.counts() == {"users": 0, "answers": 0, "last_answer": 0}


def test_another_schema_version_is_an_error(state, tmp_path):
    state.set("schema", "2")
    with pytest.raises(InputError, match="its schema is version 2"):
        open_state(str(tmp_path / "users.db"))
    with pytest.raises(InputError, match="cannot be opened"):
        open_state("nosuch://host/name")


def test_a_server_without_a_state_says_so(world):
    with pytest.raises(InputError, match="--state"):
        talk(world.app(None), lambda client: client.feedback("ann", ANSWERS))
