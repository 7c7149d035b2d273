"""A stand-in for the hub's HTTP API on this machine: repositories in memory, as far as artifacts need them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Answers to the hub's client; `tests` look at what it was asked.

    Attributes:
        commits: of each repository the files of each commit, by its hash, and the branches.
        asked: method and path of every request.
        facts: the body of each request that creates or commits.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.facts: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        commits = self.commits.get(repository, {})
        return commits.get(self.branches.get(repository, {}).get(revision, revision))

    def commit(self, repository: str, branch: str, files: dict[str, bytes]) -> str:
        """Set the files of a branch."""
        digest = hashlib.sha1(repr((branch, sorted(files.items()))).encode()).hexdigest()
        self.commits.setdefault(repository, {})[digest] = files
        self.branches.setdefault(repository, {})[branch] = digest
        return digest


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        if self.command in ("GET", "HEAD"):
            self._read(parts)
        elif self.command == "POST" and self.headers.get("authorization") != "Bearer hf_good":
            self._refuse(401, "", "Invalid username or password.")
        elif self.command == "PUT":
            self.server.large[parts[-1]] = body
            self._send({})
        elif path == "api/repos/create":
            self._create(json.loads(body))
        elif path == "api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            self._offer(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._write("/".join(parts[2:4]), parts[4], parts[5], body)
        else:
            self._refuse(404, "RepoNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815, as http.server calls them

    # ---- writing

    def _create(self, facts: dict[str, Any]) -> None:
        self.server.facts.append(facts)
        name = f"{facts.get('organization') or 'someone'}/{facts['name']}"
        if name not in self.server.commits:
            self.server.commit(name, "main", {".gitattributes": b""})
        self._send({"url": f"{self.server.address}/{name}", "name": name})

    def _offer(self, facts: dict[str, Any]) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.server.address}/large/{each['oid']}"}}}
            for each in facts["objects"]
        ]
        self._send({"transfer": "basic", "objects": objects})

    def _write(self, repository: str, action: str, revision: str, body: bytes) -> None:
        if action == "preupload":
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self._send({"files": files})
        elif action == "branch":
            branches = self.server.branches[repository]
            branches.setdefault(revision, branches["main"])
            self._send({})
        elif action == "commit":
            files = dict(self.server.files(repository, revision) or {})
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    self.server.facts.append(value)
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
            digest = self.server.commit(repository, revision, files)
            self._send({"commitUrl": f"{self.server.address}/{repository}/commit/{digest}", "commitOid": digest})

    # ---- reading

    def _read(self, parts: list[str]) -> None:
        if parts[:2] == ["api", "models"]:
            repository, rest = "/".join(parts[2:4]), parts[4:]
            revision = rest[1] if len(rest) > 1 else "main"
        else:
            repository, rest, revision = "/".join(parts[:2]), parts[2:], parts[3] if len(parts) > 3 else "main"
        if repository not in self.server.commits:
            self._refuse(404, "RepoNotFound")
            return
        files = self.server.files(repository, revision)
        digest = self.server.branches[repository].get(revision, revision)
        if files is None:
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._send(
                [{"type": "file", "path": name, "size": len(files[name]), "oid": _hash(files[name])} for name in files]
            )
        elif rest[:1] == ["resolve"]:
            name = "/".join(rest[2:])
            if name in files:
                self._send(files[name], {"X-Repo-Commit": digest, "ETag": f'"{_hash(files[name])}"'})
            else:
                self._refuse(404, "EntryNotFound", headers={"X-Repo-Commit": digest})
        else:
            self._send({"id": repository, "sha": digest, "siblings": [{"rfilename": name} for name in files]})

    def _refuse(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        self._send({"error": message}, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}, status)

    def _send(self, content: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def standing_in() -> Iterator[Hub]:
    """The stand-in, at work for the time of a block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
