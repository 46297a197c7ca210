"""A stand-in for the Hub: the three addresses that an installation asks, over real HTTP on a free port.

`trouble` by path: "slow", "cut" (half of what is asked, then the connection breaks; once for each entry), "404",
"wrong" (other bytes of the same length), "no ranges" (always everything).
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class FakeHub:
    """repositories: files by path by "owner/name". cards: card data. gated: names that want a signature."""

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    trouble: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range header) of every request."""

    def fetched(self, name: str) -> list[str]:
        """Ranges that were asked of a file; "" is the whole."""
        return [
            asked
            for path, asked in self.requests
            if path.endswith(f"/{name}") and "/resolve/" in path
        ]


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Starts and stops one."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlparse(self.path).path
            hub.requests.append((path, self.headers.get("Range") or ""))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                _listing(self, hub, "/".join(parts[2:4]))
            elif "resolve" in parts:
                _file(self, hub, "/".join(parts[:2]), "/".join(parts[4:]))
            else:
                _file(self, hub, "", path.strip("/"))

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _listing(request: BaseHTTPRequestHandler, hub: FakeHub, name: str) -> None:
    files = hub.repositories.get(name)
    if files is None or name in hub.gated:
        code = "GatedRepo" if files is not None else "RepoNotFound"
        return _answer(request, 403 if files is not None else 404, b"{}", {"X-Error-Code": code})
    siblings = []
    for path, content in files.items():
        entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry["blobId"] = blob
        if path.endswith(_LARGE):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        siblings.append(entry)
    body = {
        "id": name, "modelId": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
        "downloads": 0, "likes": 0, "tags": [], "siblings": siblings, "cardData": hub.cards.get(name, {}),
    }  # fmt: skip
    return _answer(request, 200, json.dumps(body).encode())


def _file(request: BaseHTTPRequestHandler, hub: FakeHub, repository: str, path: str) -> None:
    content = hub.repositories.get(repository, {}).get(path)
    queue = hub.trouble.get(path, [])
    trouble = queue.pop(0) if queue else ""
    if content is None or trouble == "404":
        return _answer(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
    if trouble == "wrong":
        content = bytes(byte ^ 1 for byte in content)
    asked = request.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and trouble != "no ranges" else 0
    body = content[start:]
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if trouble == "cut":
        body = body[: len(body) // 2]
    for begin in range(0, len(body), 65536):
        request.wfile.write(body[begin : begin + 65536])
        if trouble == "slow":
            time.sleep(0.02)
    request.wfile.flush()
    if trouble == "cut":
        request.connection.close()
    return None


def _answer(
    request: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    request.send_response(code)
    for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(key, value)
    request.end_headers()
    request.wfile.write(body)
