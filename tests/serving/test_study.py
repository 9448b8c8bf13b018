"""A study: people with planted tastes answer, their codes are recovered, and chosen questions tell more than random."""

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plurality.client import AsyncClient
from plurality.errors import InputError
from plurality.serving.app import Learning
from plurality.serving.questions import Question
from plurality.serving.state import open_state
from plurality.serving.study import About, Study, read_study
from tests.serving.world import PROMPT, transport

STUDY = """
title = "Tea"
ask = "Which tea?"
consent = "You agree."
answers = 3
[[about]]
name = "age"
ask = "How old are you?"
options = ["young", "old"]
[[question]]
prompt = "Which?"
completions = ["1 0", "0 1"]
[[question]]
prompt = "Which?"
completions = ["2 0", "0 2"]
"""


def test_a_study_is_read(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    study = read_study(tmp_path / "study.toml")
    assert (study.title, study.ask) == ("Tea", "Which tea?")
    assert study.about == (About("age", "How old are you?", ("young", "old")),)
    assert [q.completions for q in study.questions] == [("1 0", "0 1"), ("2 0", "0 2")]
    table = pl.DataFrame({"prompt": ["a", "a", "a", "b", "b"], "completion": ["1", "2", "3", "1", "2"]})
    table.write_parquet(tmp_path / "q.parquet")
    (tmp_path / "study.toml").write_text('questions = "q.parquet"\nshown = 2')
    assert len(read_study(tmp_path / "study.toml").questions) == 4
    (tmp_path / "study.toml").write_text('questions = "q.parquet"\nshown = 1')
    assert [len(q.completions) for q in read_study(tmp_path / "study.toml").questions] == [1] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [("titel = 1", "'titel' is not a key"), ("title = 1", "title is not text"), ("", "no question"), ("[", "TOML"),
     ("answers = 0", "1 or more"), ('how = "best"', "information, random"), ("scale = [5, 1]", "scale"),
     (STUDY + 'options = 1\n[[question]]\nprompt = "a"', "3 needs a prompt"), ('[[about]]\nname = "a"', "no question"),
     (STUDY.replace('["2 0", "0 2"]', '["2 0"]'), "two studies")],
)  # fmt: skip
def test_bad_studies(tmp_path, text, message):
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_study(tmp_path / "study.toml")


async def interview(client, user, taste, rng, n, how):
    """A person who likes what lies along `taste` answers n questions as the page would."""
    for k in range(n):
        asked = await client.next_question(user, how=how, seed=k)
        at = np.array([[float(x) for x in text.split()] for text in asked.completions])
        gap = float((at[0] - at[1]) @ taste)
        won = int(rng.random() > 1 / (1 + np.exp(-gap)))
        pair = {"prompt": asked.prompt, "chosen": asked.completions[won], "rejected": asked.completions[1 - won]}
        await client.feedback(user, [pair])


def interviews(world, path, people, n, how):
    """Mean error of the direction of everybody's taste after n answers each."""
    questions = [Question(PROMPT, (a, b)) for a, b in zip(world.texts[::2], world.texts[1::2], strict=True)]
    rng = np.random.default_rng(5)
    scale = [Question(PROMPT, (f"{0.1 * x} {0.1 * y}", "0 0")) for x, y in rng.normal(size=(60, 2)).round(2)]
    study = Study(tuple(questions + scale), answers=80)
    tastes = 2 * np.random.default_rng(6).normal(size=(people, 2))

    async def main(app):
        async with AsyncClient("http://server", transport=transport(app), retries=0) as client:
            jobs = (
                interview(client, f"p{i}", taste, np.random.default_rng([7, i]), n, how)
                for i, taste in enumerate(tastes)
            )
            await asyncio.gather(*jobs)
            probe = ["1 0", "0 1", "0 0"]
            users = [f"p{i}" for i in range(people) for _ in probe]
            return await client.score(users, [PROMPT] * len(users), probe * people)

    state = open_state(str(path))
    scored = asyncio.run(main(world.app(state, Learning(study=study))))
    state.close()
    value = np.array(scored.rewards).reshape(people, 3)
    found = value[:, :2] - value[:, 2:]
    cosine = (found * tastes).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(tastes, axis=1)
    return float(cosine.mean())


def test_planted_tastes_are_recovered(world, tmp_path):
    assert interviews(world, tmp_path / "users.db", people=6, n=8, how="information") > 0.75


@pytest.mark.slow
def test_chosen_questions_need_at_most_half_of_random_ones(world, tmp_path):
    chosen = interviews(world, tmp_path / "a.db", people=30, n=10, how="information")
    random = interviews(world, tmp_path / "b.db", people=30, n=20, how="random")
    assert chosen > random


def test_what_was_asked_is_not_asked_again(world, tmp_path):
    questions = tuple(Question(PROMPT, (a, "0 0")) for a in ("1 0", "0 1", "3 3"))
    state = open_state(str(tmp_path / "users.db"))

    async def main(app):
        async with AsyncClient("http://server", transport=transport(app), retries=0) as client:
            for k in range(3):
                asked = await client.next_question("ann")
                assert (asked.answered, len(asked.why) > 60, asked.bits > 0) == (k, True, True)
                answer = {"prompt": PROMPT, "completions": asked.completions, "chosen": 0}
                await client.feedback("ann", [answer])
            own = [(PROMPT, ["1 0"]), (PROMPT, ["5 5"])]
            with pytest.raises(InputError, match="completions"):
                await client.next_question("ann", own)
            return await client.next_question("ann"), await client.next_question("bob", [(PROMPT, ["1 0", "0 0"])])

    done, other = asyncio.run(main(world.app(state, Learning(study=Study(questions)))))
    assert (done.index, done.answered, other.index) == (None, 3, 0)
    state.close()


def test_ratings_ask_for_what_is_least_known(world, tmp_path):
    state = open_state(str(tmp_path / "users.db"))
    study = Study(tuple(Question(PROMPT, (text,)) for text in ("0.1 0", "3 0", "0 0.1")))

    async def main(app):
        async with AsyncClient("http://server", transport=transport(app), retries=0) as client:
            return await client.next_question("ann")

    assert asyncio.run(main(world.app(state, Learning(study=study)))).completions == ["3 0"]
    state.close()


def test_the_page_asks_no_other_host():
    page = (Path(__file__).parents[2] / "plurality/serving/ask.html").read_text()
    assert "http" not in page.replace("httpEquiv", "")
