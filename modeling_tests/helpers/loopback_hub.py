"""A model Hub small enough to read, on the loopback interface: what pushing and loading a repository needs, no more.

Repositories live in memory. Every commit is a full copy of the files under a new hash, so that pinned revisions work.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

from huggingface_hub import ModelCard


class LoopbackHub:
    """Use as a context manager; `url` is what `HF_ENDPOINT` must be, `requests` what was asked, in order."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def head(self, repo_id: str) -> str:
        """Hash of the newest commit."""
        return next(reversed(self.repositories[repo_id]))

    def files(self, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """(commit hash, files) of a branch name or a hash; raises `KeyError` where there is none."""
        commits = self.repositories[repo_id]
        commit = self.head(repo_id) if revision in ("main", "HEAD") else revision
        return commit, commits[commit]

    def commit(self, repo_id: str, changes: list[dict]) -> str:
        """Apply the lines of a commit request and return the new hash."""
        with self.lock:
            commits = self.repositories[repo_id]
            files = dict(commits[self.head(repo_id)])
            for change in changes:
                if change["key"] == "file":
                    files[change["value"]["path"]] = base64.b64decode(change["value"]["content"])
                elif change["key"] == "deletedFile":
                    files.pop(change["value"]["path"], None)
            digest = hashlib.sha1(f"{len(commits)}{repo_id}".encode()).hexdigest()
            commits[digest] = files
            return digest

    def add(self, repo_id: str, path: str, content: bytes) -> str:
        """Commit one file and return the new hash."""
        file = {"path": path, "content": base64.b64encode(content).decode()}
        return self.commit(repo_id, [{"key": "file", "value": file}])


def run(
    program: str, hub: LoopbackHub, home: Path, *arguments: str, stdin: object = None
) -> subprocess.CompletedProcess:
    """Run a program in a new interpreter that knows no other Hub and has its own cache."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=json.dumps(stdin),
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
    )


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes | dict | list, status: int = 200, **headers: str) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def _not_found(self, code: str) -> None:
        self._answer({"error": code}, status=404, X_Error_Code=code)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlparse(self.path).path
        self.hub.requests.append(f"POST {path}")
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo_id = "/".join(filter(None, (asked.get("organization") or "me", asked["name"])))
            self.hub.repositories.setdefault(repo_id, {"0" * 40: {}})
            self._answer({"url": f"{self.hub.url}/{repo_id}", "id": repo_id, "name": repo_id})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", path):
            wanted = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in wanted]})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            digest = self.hub.commit(match[1], [json.loads(line) for line in body.splitlines() if line])
            url = f"{self.hub.url}/{match[1]}/commit/{digest}"
            self._answer({"success": True, "commitOid": digest, "commitUrl": url, "hookOutput": ""})
        else:
            self._not_found("EntryNotFound")

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if path == "/api/whoami-v2":
                self._answer({"name": "me", "type": "user", "orgs": [], "auth": {"type": "access_token"}})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", path):
                _, files = self.hub.files(match[1], match[2])
                self._answer([{"type": "file", "path": p, "size": len(b), "oid": _etag(b)} for p, b in files.items()])
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/refs", path):
                branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.hub.head(match[1])}
                self._answer({"branches": [branch], "tags": [], "converts": []})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", path):
                commit, files = self.hub.files(match[1], match[2] or "main")
                siblings = [{"rfilename": name} for name in files]
                card = ModelCard(files.get("README.md", b"").decode()).data.to_dict()
                said = {"pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name"), "tags": []}
                self._answer({"id": match[1], "modelId": match[1], "sha": commit, "siblings": siblings, **said})
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                commit, files = self.hub.files(match[1], match[2])
                if match[3] not in files:
                    self._not_found("EntryNotFound")
                    return
                body = files[match[3]]
                self._answer(body, X_Repo_Commit=commit, ETag=f'"{_etag(body)}"', Accept_Ranges="bytes")
            else:
                self._not_found("RepoNotFound")
        except KeyError:
            self._not_found("RepoNotFound")

    do_HEAD = do_GET


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
