"""A hub on this machine: the few endpoints of huggingface.co that huggingface_hub's own code asks for."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class FakeHub(ThreadingHTTPServer):
    """Repositories by name: {"private": ..., "branches": {branch: {path: bytes}}, "log": [message, ...]}."""

    daemon_threads = True

    def __init__(self):
        self.repos, self.asked, self.failures = {}, [], {}
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repo_id, files, *, private=False, branch="main"):
        repo = self.repos.setdefault(repo_id, {"private": private, "branches": {"main": {}}, "log": []})
        repo["branches"][branch] = dict(files)

    def files(self, repo_id, branch="main"):
        return self.repos[repo_id]["branches"][branch]


def sha(files):
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, content=b"", headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status, code):
        self.answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def do_GET(self):
        self.route()

    do_HEAD = do_POST = do_GET

    def route(self):
        path = unquote(urlsplit(self.path).path)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while count := int(self.rfile.readline(), 16):
                body += self.rfile.read(count)
                self.rfile.readline()
            self.rfile.readline()
        self.server.asked.append((self.command, path, self.headers.get("Authorization")))
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit|branch)/(.+))?", path)
        resolved = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = api or resolved
        if match is None:
            return self.fail(404, "EntryNotFound")
        repo_id = match[1]
        if repo_id in self.server.failures:
            return self.fail(*self.server.failures[repo_id])
        if repo_id not in self.server.repos:
            return self.fail(401, "RepoNotFound")
        repo = self.server.repos[repo_id]
        if api and api[2] == "branch":
            if api[3] in repo["branches"]:
                return self.fail(409, "Conflict")
            repo["branches"][api[3]] = dict(repo["branches"]["main"])
            return self.answer(200, {})
        files = self.at(repo, resolved[2] if resolved else api[3] or "main")
        if files is None:
            return self.fail(404, "RevisionNotFound")
        if resolved:
            return self.file(files, resolved[3])
        return getattr(self, api[2] or "revision")(repo_id, repo, files, body, api[3] or "main")

    def at(self, repo, revision):
        by_sha = {sha(files): files for files in repo["branches"].values()}
        return repo["branches"].get(revision, by_sha.get(revision))

    def create(self, asked):
        repo_id = f"{asked.get('organization')}/{asked['name']}"
        if repo_id in self.server.failures:
            return self.fail(*self.server.failures[repo_id])
        if repo_id in self.server.repos:
            return self.answer(409, {"error": "exists", "url": f"{self.server.url}/{repo_id}"})
        private = asked.get("private", asked.get("visibility") == "private")
        self.server.put(repo_id, {}, private=bool(private))
        return self.answer(200, {"url": f"{self.server.url}/{repo_id}"})

    def revision(self, repo_id, repo, files, body, revision):
        siblings = [{"rfilename": name} for name in files]
        about = {"_id": "1", "id": repo_id, "sha": sha(files), "private": repo["private"], "siblings": siblings}
        self.answer(200, {**about, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, repo_id, repo, files, body, revision):
        entries = [{"type": "file", "path": n, "size": len(c), "oid": sha({n: c})} for n, c in files.items()]
        self.answer(200, entries)

    def preupload(self, repo_id, repo, files, body, revision):
        paths = [file["path"] for file in json.loads(body)["files"]]
        self.answer(200, {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})

    def commit(self, repo_id, repo, files, body, revision):
        files = repo["branches"][revision]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repo["log"].append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
        self.answer(200, {"commitUrl": f"{self.server.url}/{repo_id}/commit/{sha(files)}", "commitOid": sha(files)})

    def file(self, files, name):
        if name not in files:
            return self.fail(404, "EntryNotFound")
        headers = {"ETag": f'"{sha({name: files[name]})}"', "X-Repo-Commit": sha(files), "Accept-Ranges": "bytes"}
        return self.answer(200, files[name], headers)
