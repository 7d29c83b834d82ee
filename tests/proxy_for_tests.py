"""A reverse proxy that serves a page under a sub-path, as nginx: `location /lab/ { proxy_pass http://…/; }`."""

import threading
import time

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from tests.browser.conftest import free_port

METHODS = ["GET", "POST", "HEAD", "DELETE"]
HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "accept-encoding"}


def serve_under(prefix, backend):
    """Start the proxy; gives its address and what ends it. Whatever is asked outside of the prefix is answered 404."""
    client = httpx.AsyncClient(base_url=backend, timeout=60)

    async def forward(request):
        path = request.url.path.removeprefix(prefix) + (f"?{request.url.query}" if request.url.query else "")
        headers = {name: value for name, value in request.headers.items() if name not in HOP}
        headers |= {
            "x-forwarded-host": request.headers["host"],
            "x-forwarded-proto": "http",
            "accept-encoding": "identity",
        }
        asked = client.build_request(request.method, path, headers=headers, content=await request.body())
        answer = await client.send(asked, stream=True)
        kept = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in HOP]
        sent = StreamingResponse(answer.aiter_bytes(), answer.status_code, background=None)
        sent.raw_headers = [(name.encode(), value.encode()) for name, value in kept]
        return sent

    async def nothing(request):
        return PlainTextResponse("outside of the prefix", 404)

    application = Starlette(
        routes=[
            Route(f"{prefix}/{{rest:path}}", forward, methods=METHODS),
            Route("/{rest:path}", nothing, methods=METHODS),
        ]
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)

    def end():
        server.should_exit = True
        thread.join(10)

    return f"http://127.0.0.1:{port}{prefix}/", end
