"""The frame of the page over HTTP: what it sends, what it lets nobody do, and that it needs no torch to start."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import gradio
import pytest

from tests.browser.conftest import free_port

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {"list_models", "suggest_anchors", "start_run", "run_status", "compare", "stop_run"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from unlearning.ui.app import launch_settings
    from unlearning.ui.frame import build_app

    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "secret.txt").write_text("a person's text")
    page = build_app(workspace)
    port = free_port()
    page.launch(
        server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, **launch_settings(workspace), quiet=True
    )
    yield f"http://127.0.0.1:{port}", workspace, page
    page.close()


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.headers, answer.read().decode()


def test_the_page_comes_with_style_header_and_headline_and_no_other_host(site):
    status, headers, html = get(site[0] + "/")
    assert status == 200
    assert int(headers["content-length"]) == len(html.encode())
    head, body = html.split("</head>", 1)
    assert "--baseline:" in head
    assert "Which dice are thrown" in head  # the terms that components explain
    assert '<div id="first">' in body
    assert "Watch a language model forget a text." in body
    for tag in ("<script src=", "<link", "<img", "og:image"):
        for part in html.split(tag)[1:]:
            assert "//" not in part.split(">", 1)[0].replace("http://127.0.0.1", ""), part[:200]


def test_the_step_of_the_address_is_marked_in_the_first_header(site):
    _, _, html = get(site[0] + "/?step=dictionary")
    assert 'data-step="dictionary" aria-current="page"' in html
    assert "Watch a language model forget" not in html.split("</head>")[1].split("<gradio-app")[0]


@pytest.mark.parametrize(
    "query", ["?step=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "?step=.*", "?run=x%3Cb%3E", "?step="]
)
def test_nothing_of_the_address_gets_into_the_html(site, query):
    _, _, html = get(site[0] + "/" + query)
    assert "alert(1)" not in html
    assert "x<b>" not in html


def test_only_the_designed_functions_are_public(site):
    _, _, info = get(site[0] + "/gradio_api/info")
    named = {name.strip("/") for name in json.loads(info)["named_endpoints"]}
    assert named <= PUBLIC


@pytest.mark.parametrize(
    "path", ["{workspace}/secret.txt", "/etc/passwd", "{root}/pyproject.toml", "../pyproject.toml"]
)
def test_no_file_of_the_machine_can_be_read(site, path):
    url, workspace, _ = site
    asked = path.format(workspace=workspace, root=ROOT)
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{url}/gradio_api/file={asked}")
    assert refused.value.code in (403, 404)


def test_a_run_as_large_as_a_real_one_can_be_uploaded(site):
    boundary = "a-boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="run.zip"\r\n\r\n'
    body = head.encode() + bytes(80_000_000) + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(urllib.request.Request(f"{site[0]}/gradio_api/upload", body, kind), timeout=60) as done:
        (path,) = json.loads(done.read())
    assert Path(path).stat().st_size == 80_000_000
    Path(path).unlink()


def test_no_listener_uses_session_state_that_would_hold_connections(site):
    config = json.loads(get(site[0] + "/config")[2])
    assert config["connect_heartbeat"] is False
    assert not [one for one in config["components"] if one["type"] == "state"]


def test_no_choice_of_an_open_tab_is_refused_after_a_restart(site):
    """A program that was started again knows no run as a choice before somebody has arrived on the screen."""
    menus = [one for one in site[2].blocks.values() if type(one) is gradio.Dropdown and not one.choices]
    assert {"compare-run", "probe-run", "other-run", "inspector-run"} == {menu.elem_id for menu in menus}
    assert {menu.preprocess("abcdefgh") for menu in menus} == {"abcdefgh"}
    (columns,) = (one for one in site[2].blocks.values() if one.elem_id == "columns-of")
    assert columns.preprocess(["never_taught", "prompt_only"]) == ["never_taught", "prompt_only"]


def test_a_screen_that_breaks_is_said_on_the_status_line(capsys):
    from unlearning.ui.context import Screen
    from unlearning.ui.frame import _opened

    said, *others = _opened(Screen(lambda where: 1 / 0, outputs=["one", "two"]), {})
    assert "could not be shown" in said and "Traceback" not in said and len(others) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_interface_starts_without_torch():
    code = (
        "import sys; from pathlib import Path; import tempfile; from unlearning.ui.frame import build_app; "
        "build_app(Path(tempfile.mkdtemp())); "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "app.py", "--in-process", "--port", port], cwd=ROOT, capture_output=True, text=True,
            timeout=240, env={"PATH": "/usr/bin:/bin", "UNLEARNING_WORKSPACE": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode
    assert f"port {port}: it is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "banana"], "invalid int value"),
        (["--auth", "anna"], "Write --auth name:password"),
        (["--nonsense"], "unrecognized"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, sentence, tmp_path):
    done = subprocess.run(
        [sys.executable, "app.py", *options], cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={"PATH": "/usr/bin:/bin", "UNLEARNING_WORKSPACE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
