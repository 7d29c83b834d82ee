"""The first thing on the screen, before Gradio's scripts have run: style, header and headline, in the page itself.

Gradio sends an empty page and builds everything in the browser, which takes a second or two. This middleware puts the
style sheet and a header of plain links into the HTML; assets/js/nav.js takes it away when the real one is there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OWN_PAGE = b"window.gradio_config"
LOGIN = b'"auth_required":true'
OTHER_HOSTS = re.compile(rb"<meta[^>]*(?:og:|twitter:)[^>]*/>")  # previews that point to Gradio's own pictures

EARLY = """<script>
(() => {
  const asked = new URLSearchParams(location.search).get("__theme");
  const chosen = asked || localStorage.getItem("forgetting-theme");
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.classList.toggle("dark", dark);
})();
</script>"""
FONTS = "".join(
    '<link rel="preload" as="font" type="font/woff2" crossorigin '
    f'href="static/fonts/IBMPlexSans/IBMPlexSans-{weight}.woff2">'
    for weight in ("Regular", "Bold")
)


class FirstPaint:
    """ASGI middleware.

    Args:
        app: The page.
        style: The style sheet.
        header: Of the page, as HTML.
        hero: What stands below it on the first page, as HTML.
    """

    def __init__(self, app: Any, style: str, header: str, hero: str) -> None:
        self.app, self.header, self.hero = app, header, hero
        self.head = f"{EARLY}{FONTS}<style>{style}</style>".encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    whole = self._prepare(bytes(body), scope.get("query_string", b"").decode("latin-1"))
                    start["headers"] = [
                        *((name, value) for name, value in start["headers"] if name.lower() != b"content-length"),
                        (b"content-length", str(len(whole)).encode()),
                    ]
                    await send(start)
                    await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, sent)

    def _prepare(self, html: bytes, query: str) -> bytes:
        if OWN_PAGE not in html:
            return html
        html = OTHER_HOSTS.sub(b"", html).replace(b"</head>", self.head + b"</head>", 1)
        if LOGIN in html.replace(b" ", b""):
            return html
        first = f'<div id="first">{self._first(query)}</div>'.encode()
        return html.replace(b"<gradio-app", first + b"<gradio-app", 1)

    def _first(self, query: str) -> str:
        step = parse_qs(query).get("step", ["unlearn" if "run=" in query else "start"])[0]
        here = f'data-step="{step}"'
        known = re.fullmatch(r"[a-z]+", step) is not None
        header = self.header.replace(here, f'{here} aria-current="page"') if known else self.header
        return f'<div class="first-header">{header}</div>{self.hero if step == "start" else ""}'


def _is_html(message: Message) -> bool:
    return any(n.lower() == b"content-type" and v.startswith(b"text/html") for n, v in message["headers"])
