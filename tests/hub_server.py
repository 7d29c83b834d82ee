"""A Hugging Face hub in miniature: the few addresses that a model download asks for, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Models by id, each a table of files; `gated` ids answer 403; `asked` is every file that was fetched."""

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def running_hub(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            api = parts[:2] == ["api", "models"]
            name = "/".join(parts[2:4] if api else parts[:2])
            files = hub.models.get(name)
            if files is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
            if name in hub.gated:
                return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, with_body)
            if api and "tree" in parts:
                listing = [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in files.items()
                ]
                return self._send(200, json.dumps(listing).encode(), {}, with_body)
            if api:
                info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]}
                return self._send(200, json.dumps(info).encode(), {}, with_body)
            path = "/".join(parts[4:])  # owner/name/resolve/<commit>/<path>
            if path not in files:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            if with_body:
                hub.asked.append(path)
            etag = {"ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return self._send(200, files[path], etag, with_body)

        def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
