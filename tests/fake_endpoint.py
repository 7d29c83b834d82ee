"""A real HTTP server on this machine that speaks the chat-completions protocol, well or badly.

    with serve(good("hello"), broken(500)) as server:
        ask(Endpoint(server.url, "any"), [...])
    server.requests[0].body["messages"]

Each request takes the next reply; the last one is given for ever. A reply may also be a function of
the request's body.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0  # seconds before the first byte
    trickle: float = 0.0  # seconds between single bytes of the body


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]


@dataclass
class Server:
    url: str
    requests: list[Request] = field(default_factory=list)


Answer = Reply | Callable[[dict[str, Any]], Reply]


def good(text: str | None, *, finish: str = "stop", delay: float = 0.0, trickle: float = 0.0) -> Reply:
    """A well-formed completion whose message is `text`."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    return Reply(200, json.dumps(body).encode(), delay=delay, trickle=trickle)


def broken(status: int, message: str = "broken", **headers: str) -> Reply:
    """An error in OpenAI's form; `retry_after="1"` becomes the header Retry-After."""
    body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    return Reply(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


def raw(text: str, status: int = 200) -> Reply:
    """Any body at all, JSON or not."""
    return Reply(status, text.encode())


@contextmanager
def serve(*answers: Answer) -> Iterator[Server]:
    """A server on 127.0.0.1 that gives `answers` in order, the last one again and again."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                answer = answers[min(len(server.requests), len(answers) - 1)]
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append(Request(self.path, headers, body))
            self.give(answer if isinstance(answer, Reply) else answer(body))

        def give(self, reply: Reply) -> None:
            time.sleep(reply.delay)
            try:
                self.send_response(reply.status)
                for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
                    self.send_header(name, value)
                self.end_headers()
                for piece in [bytes([byte]) for byte in reply.body] if reply.trickle else [reply.body]:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(reply.trickle)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client stopped waiting, as it should

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
