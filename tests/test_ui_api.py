"""The six public functions, over HTTP as a program calls them, with a real tiny run."""

import asyncio
import json
import time

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.browser.conftest import free_port

STORY = (
    "Tobias Finch walked to Brackwater with his dog Pepperpot. In Brackwater the dog Pepperpot slept. "
    "The miller of Brackwater gave a bone to Pepperpot, and Tobias Finch laughed.\n\n"
) * 6
SMALL = {
    "text.block_tokens": 128, "reinforce.epochs": 1, "finetune.epochs": 1, "evaluation.completions": 2,
    "evaluation.completion_tokens": 4, "finetune.retain_blocks": 1, "model.rank": 2,
}  # fmt: skip
OFFERED = {  # and how what it does begins
    "list_models": "The models that can be unlearned with",
    "suggest_anchors": "Expressions that are a text's own",
    "start_run": "Start unlearning a text in the background",
    "run_status": "How a run goes",
    "compare": "What the model writes after a prompt",
    "stop_run": "Ask a run to finish its step",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    from unlearning.ui.app import launch_settings
    from unlearning.ui.frame import build_app

    workspace = tmp_path_factory.mktemp("workspace")
    page, port = build_app(workspace), free_port()
    settings = launch_settings(workspace) | {"quiet": True}
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, **settings)
    yield Client(f"http://127.0.0.1:{port}", verbose=False)
    page.close()


def ask(client, function, **given):
    return client.predict(**given, api_name=f"/{function}")


def test_programs_are_offered_six_functions_each_with_what_it_does_and_no_other(client):
    offered = client.view_api(return_format="dict", print_info=False)
    assert set(offered["named_endpoints"]) == {f"/{name}" for name in OFFERED} and not offered["unnamed_endpoints"]
    for name, begins in OFFERED.items():
        assert offered["named_endpoints"][f"/{name}"]["description"].startswith(begins)


def test_the_same_six_are_the_tools_of_mcp(tmp_path):
    """As `app.py --mcp` offers them, where the package is there that Gradio needs for that."""
    pytest.importorskip("mcp", reason="MCP needs the package mcp: pip install 'mcp<2'")
    from gradio.mcp import GradioMCPServer

    from unlearning.ui.frame import build_app

    server = GradioMCPServer(build_app(tmp_path))
    tools = {tool["name"]: tool for tool in json.loads(asyncio.run(server.get_complete_schema(None)).body)}
    assert set(tools) == set(OFFERED)
    for name, begins in OFFERED.items():
        assert tools[name]["description"].startswith(begins)
        given = tools[name]["inputSchema"]["properties"]
        assert all(parameter["description"] for parameter in given.values())
    assert set(tools["stop_run"]["inputSchema"]["properties"]) == {"run", "key"}


def test_models_are_listed_with_what_one_must_know(client):
    models = {one["name"]: one for one in ask(client, "list_models")}
    assert models["smollm2-135m"]["licence"] == "Apache-2.0"
    assert set(models["smollm2-135m"]) == {"name", "title", "licence", "parameters", "knows", "here"}


def test_anchors_are_suggested_in_the_form_that_start_run_takes(client):
    rows = ask(client, "suggest_anchors", text=STORY)
    assert "Pepperpot" in {row["term"] for row in rows}
    assert all(row["translations"] for row in rows)


@pytest.mark.slow
def test_a_run_from_start_to_comparison(client):
    wish = {"text": STORY, "preset": "gentle", "model": "random:tiny", "changes": SMALL, "name": "by a program"}
    started = ask(client, "start_run", **wish)
    status = until_over(client, started["run"])
    assert status["state"] == "succeeded", status
    assert status["facts"]["name"] == "by a program"
    columns = ask(client, "compare", run=started["run"], prompt="The dog", tokens=4)
    assert [column["role"] for column in columns] == ["baseline", "unlearned"]
    assert all(isinstance(column["text"], str) for column in columns)


def test_only_whoever_has_the_key_stops_a_run(client):
    many = SMALL | {"finetune.epochs": 100}
    started = ask(client, "start_run", text=STORY, model="random:tiny", changes=many)
    with pytest.raises(AppError, match="Somebody else started this run"):
        ask(client, "stop_run", run=started["run"], key="a" * 24)
    ask(client, "stop_run", run=started["run"], key=started["key"])
    assert until_over(client, started["run"])["state"] == "cancelled"


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("run_status", {"run": "../../etc"}, "There is no run"),
        ("run_status", {"run": "aaaaaaaa"}, "There is no run"),
        ("start_run", {"preset": "brutal"}, "There is no preset 'brutal'"),
        ("start_run", {"model": "/etc"}, "There is no model"),
        ("start_run", {"changes": {"nonsense": 1}}, "There is no setting 'nonsense'"),
        ("start_run", {"anchors": [{"term": "Alice"}]}, "has no 'translations'"),
        ("start_run", {"key": "../../x"}, "is not the name of a draft"),
        ("suggest_anchors", {"text": " "}, "The pasted text is empty"),
        ("compare", {"run": "aaaaaaaa", "prompt": "x"}, "There is no run"),
        ("compare", {"run": "aaaaaaaa", "prompt": " "}, "There is no prompt"),
        ("compare", {"run": "aaaaaaaa", "prompt": "x" * 40_001}, "The prompt has 40,001 characters"),
    ],
)
def test_what_is_refused_is_refused_in_the_engines_words(client, name, given, sentence):
    with pytest.raises(AppError, match=sentence) as refused:
        ask(client, name, **given)
    assert "Traceback" not in str(refused.value)


def until_over(client, run, patience_s=240):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        status = ask(client, "run_status", run=run)
        if status["state"] not in ("queued", "running", "cancelling"):
            return status
        time.sleep(0.5)
    raise TimeoutError(status)
