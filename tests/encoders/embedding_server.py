"""A server of /v1/embeddings from the standard library: what it does wrong is set from outside."""

import base64
import hashlib
import json
import threading
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIM = 8


@lru_cache
def word_vector(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).normal(size=DIM)


def vector(text: str, pooling: str = "mean", limit: int | None = None, side: str = "left") -> np.ndarray:
    """Tokens are words; left cuts the beginning."""
    words = text.split()
    if limit:
        words = words[-limit:] if side == "left" else words[:limit]
    each = np.array([word_vector(word) for word in words])
    return each.mean(0) * 3 if pooling == "mean" else each[-1] * 3


class Server:
    """`url`, and what was asked; `fails` are (status, body, headers) answered first."""

    def __init__(self):
        self.asked, self.keys, self.fails, self.heard = [], [], [], 0
        self.pooling, self.normalise, self.obeys, self.side, self.rounded, self.width = (
            "mean",
            False,
            True,
            "left",
            0,
            DIM,
        )
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.reply(self, 200, json.dumps({"data": [{"id": "tiny"}]}))

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.heard += 1
                outer.keys.append(self.headers.get("Authorization"))
                if outer.fails:
                    outer.reply(self, *outer.fails.pop(0))
                    return
                outer.asked.append(asked)
                outer.reply(self, 200, outer.answer(asked))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1/embeddings"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def texts(self):
        return [text for asked in self.asked for text in asked["input"]]

    def reply(self, handler, status, body, headers=()):
        raw = body.encode()
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    def answer(self, asked):
        limit = asked.get("truncate_prompt_tokens") if self.obeys else None
        rows, tokens = [], 0
        for i, text in enumerate(asked["input"]):
            x = vector(text, self.pooling, limit, self.side)[: self.width]
            x = x / np.linalg.norm(x) if self.normalise else x
            x = (x * (1 + self.rounded * np.cos(np.arange(self.width)))).astype("<f4")
            tokens += min(len(text.split()), limit or 10**9)
            told = base64.b64encode(x.tobytes()).decode() if asked["encoding_format"] == "base64" else x.tolist()
            rows.append({"index": i, "embedding": told})
        return json.dumps({"data": rows[::-1], "usage": {"prompt_tokens": tokens}})

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
