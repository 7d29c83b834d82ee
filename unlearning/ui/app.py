"""Starts the page: options, launch settings, and a scheduler for runs that wait."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import SettingsError


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page until interrupted."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    options = _options(arguments)
    logins = _pairs(options.auth)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        raise SettingsError("--mcp needs the package mcp, which is not installed.", "pip install 'mcp<2'")
    from unlearning.runs import scheduler
    from unlearning.runs.store import workspace_folder
    from unlearning.ui.drafts import DraftStore
    from unlearning.ui.frame import build_app

    workspace = workspace_folder()
    workspace.mkdir(parents=True, exist_ok=True)
    if options.in_process:
        from unlearning.ui import inprocess

        inprocess.start(workspace)
    else:
        scheduler.ensure(workspace)
    DraftStore(workspace).forget_old()
    page = build_app(workspace)
    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            root_path=options.root_path or None,
            mcp_server=options.mcp,
            auth=logins,
            auth_message="This page asks for the name and password that its owner gave you.",
            **launch_settings(workspace),
        )
    except OSError as error:  # what Gradio says of every address that it cannot have
        raise SettingsError(
            f"The page cannot listen on {options.host}, port {options.port}: it is taken, or not of this machine.",
            "Choose another with --port, or end what listens there.",
        ) from error


def launch_settings(workspace: Path) -> dict[str, Any]:
    """What every launch of the page has in common, a test's too."""
    from starlette.middleware import Middleware

    from unlearning.ui.first_paint import FirstPaint
    from unlearning.ui.frame import header
    from unlearning.ui.landing import HERO
    from unlearning.ui.pages import head, style
    from unlearning.ui.runs import LARGEST_ZIP
    from unlearning.ui.theme import make_theme

    first = Middleware(FirstPaint, style=style(), header=header(), hero=HERO)

    return {
        "theme": make_theme(),
        "head": head(),
        "app_kwargs": {"middleware": [first]},
        "ssr_mode": False,
        "run_history": False,
        "max_file_size": LARGEST_ZIP,  # of any upload; documents have a limit of their own
        "allowed_paths": [],
        "blocked_paths": [str(workspace)],
        "footer_links": [],
        "strict_cors": True,
        "enable_monitoring": False,
        "show_error": True,
        "share": False,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="app.py", description="Watch a language model forget a text, in the browser.")
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or "7860"
    parser.add_argument("--port", type=int, default=port, help="port to listen on (also PORT in the environment)")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other machines in: give --auth then",
    )
    parser.add_argument(
        "--auth", action="append", default=[], metavar="NAME:PASSWORD", help="ask for a login; may be given many times"
    )
    parser.add_argument("--root-path", default="", help="path under which a reverse proxy serves the page")
    parser.add_argument(
        "--in-process",
        action="store_true",
        default=bool(os.environ.get("SPACE_ID")),
        help="work on runs inside this program, not in processes of their own (so by itself on Hugging Face Spaces)",
    )
    parser.add_argument("--mcp", action="store_true", help="also offer the public functions as MCP tools")
    return parser.parse_args(arguments)


def _pairs(logins: Sequence[str]) -> list[tuple[str, str]] | None:
    pairs = [tuple(login.partition(":")[::2]) for login in logins]
    for name, password in pairs:
        if not name or not password:
            raise SettingsError(f"--auth {name!r} has no password.", "Write --auth name:password.")
    return [(name, password) for name, password in pairs] or None
