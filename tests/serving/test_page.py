"""The page in a browser: by keyboard alone, from consent to thanks. Skipped where there is no Chromium."""

import shutil
import socket
import threading

import pytest
import uvicorn

from plurality.serving.app import Learning
from plurality.serving.questions import Question
from plurality.serving.state import open_state
from plurality.serving.study import About, Study
from tests.serving.world import PROMPT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture
def served(world, tmp_path):
    """The address of a server with a study of three questions, and its state."""
    study = Study(
        tuple(Question(PROMPT, (a, "0 0")) for a in ("1 0", "0 1", "3 3")),
        title="Replies",
        ask="Which of these?",
        consent="You agree to it.",
        about=(About("age", "How old are you?", ("young", "old")),),
    )
    state = open_state(str(tmp_path / "users.db"))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(world.app(state, Learning(study=study)), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", state
    server.should_exit = True
    thread.join()
    state.close()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_person_answers_by_keyboard(served):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    url, state = served
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 390, "height": 760})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/ask?user=ann")
        page.wait_for_selector("#start")
        assert "You agree to it." in page.inner_text("body")
        page.keyboard.press("Enter")
        page.select_option("#about-0", "old")
        page.press("#go-on", "Enter")
        for k, key in enumerate("102"):
            page.wait_for_selector(f"text=Question {k + 1} of 3")
            assert page.inner_text("h1") == "Which of these?"
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.keyboard.press(key)
        page.wait_for_selector("#thanks")
        browser.close()
    assert said == []
    assert all(address.startswith(url) for address in asked)
    assert state.about(["ann"]) == {"ann": {"age": "old"}}
    rows = [row for _, _, row in state.said(["ann"])]
    assert [row.get("label") for row in rows] == [None, 0.5, None]
