"""The page of the site on serving: its curl lines and its Python run against `plurality serve` as it says."""

import shutil
import socket
import subprocess
import threading
import warnings

import uvicorn

import plurality
from plurality.encoders import LsaSpec
from plurality.errors import InputWarning
from plurality.models import LowRank
from plurality.serving.state import open_state
from tests.docs.blocks import ROOT, blocks
from tests.serving.world import World

TEXT = (ROOT / "docs/pages/howto/serving.md").read_text(encoding="utf-8")


def test_the_page_does_what_it_says(tmp_path, monkeypatch):
    texts = ["Green tea", "Black tea with milk", "Herbal tea", "Apple cake", "No cake", "Cake with milk"]
    rows = [(f"u{i}", "Tea?", texts[i % 6], texts[(i + 1 + i % 4) % 6]) for i in range(24)]
    rows = {
        name: list(column)
        for name, column in zip(("user_id", "prompt", "chosen", "rejected"), zip(*rows, strict=True), strict=True)
    }
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # few texts
        model = LowRank(rank=1).fit(plurality.read(rows, encoder=LsaSpec(dim=4, min_df=1)))
        state = open_state("users.db")
        listener = socket.create_server(("127.0.0.1", 0))
        app = World(model, texts, None).app(state)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            here = TEXT.replace("127.0.0.1:5000", f"127.0.0.1:{listener.getsockname()[1]}")
            for language, block in blocks(here, "sh", "py"):
                if language == "py":
                    exec(compile(block, "serving.md", "exec"), {})
                elif shutil.which("curl"):
                    for line in block.splitlines():
                        subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)
        finally:
            server.should_exit = True
            thread.join()
    assert state.counts()["users"] == 0  # both were erased
    state.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        assert len(plurality.read("answers.parquet", encoder=model.encoder)) == 1
