"""Models from the Hugging Face hub, from a small hub of our own that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, running_hub

from unlearning.models.hub import is_hub_id
from unlearning.models.shapes import SHAPES, byte_tokenizer, random_model

LOAD = """
from unlearning.config import ModelSettings
from unlearning.models.hardware import choose_hardware
from unlearning.models.loading import load
model, tokenizer = load(name, choose_hardware(ModelSettings(device="cpu", dtype="float32")), report=report)
answer = {"parameters": model.num_parameters(), "tokens": len(tokenizer)}
"""
DOWNLOAD = """
from unlearning.models.hub import download
from unlearning.models.loading import identify
answer = {"folder": str(download(name, report)), "identity": identify(name)}
"""
FRAME = """
import json, sys
from unlearning.errors import UnlearningError
name, notes = sys.argv[1], []
def report(kind, message): notes.append(message)
try:
    exec(sys.argv[2])
except UnlearningError as error:
    answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
print(json.dumps(answer | {"notes": notes}))
"""


def ask(code: str, name: str, endpoint: str, cache: Path, **environment: str) -> dict[str, Any]:
    """Run `code` in another process, for the hub's address is read when its library is imported."""
    ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "UNLEARNING_HOME": str(cache / "home")}
    ours["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", FRAME, name, code],
        env=os.environ | ours | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_model_comes_without_pickles_and_code_and_stays_for_offline_use(tmp_path: Path):
    random_model(SHAPES["tiny"], "cpu", "float32").save_pretrained(tmp_path / "saved")
    byte_tokenizer().save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
    others = ("pytorch_model.bin", "modeling_own.py", "onnx/model.safetensors", "consolidated.safetensors")
    with running_hub(Hub(models={"owner/tiny": files | dict.fromkeys(others, b"no")})) as hub:
        loaded = ask(LOAD, "owner/tiny", hub.url, tmp_path)
    assert (loaded["parameters"], loaded["tokens"]) == (SHAPES["tiny"].parameters, 259)
    assert loaded["notes"] == ["Downloading owner/tiny from the Hugging Face hub."]
    assert set(hub.asked) == set(files)

    offline = ask(DOWNLOAD, "owner/tiny", hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert offline["notes"] == []
    assert offline["identity"] == {
        "name": "owner/tiny",
        "kind": "hub",
        "sha256": hashlib.sha256(files["model.safetensors"]).hexdigest(),
        "parameters": SHAPES["tiny"].parameters,
        "licence": "apache-2.0",
    }


@pytest.mark.parametrize(
    ("name", "error", "message", "hint"),
    [
        ("owner/smollm2-135", "ModelNotFoundError", "no model on the Hugging Face hub named", "smollm2-135m"),
        ("owner/gated", "DownloadError", "accepted its conditions", "hf auth login"),
        ("owner/pickled", "ModelError", "no safetensors", "model.safetensors"),
        ("owner/code-only", "ModelError", "no safetensors", "model.safetensors"),
    ],
)
def test_what_the_hub_does_not_give(name: str, error: str, message: str, hint: str, tmp_path: Path):
    pickled = {"config.json": b"{}", "pytorch_model.bin": b""}
    models = {"owner/gated": {}, "owner/pickled": pickled, "owner/code-only": {"train.py": b""}}
    with running_hub(Hub(models=models, gated={"owner/gated"})) as hub:
        answer = ask(DOWNLOAD, name, hub.url, tmp_path)
    assert answer["error"] == error
    assert message in answer["message"] and hint in answer["hint"] and name in answer["message"]
    assert not {"pytorch_model.bin", "train.py"} & set(hub.asked)


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network_the_ways_out_are_named(environment: dict[str, str], tmp_path: Path):
    answer = ask(DOWNLOAD, "owner/tiny", "http://127.0.0.1:9", tmp_path, **environment)
    assert answer["error"] == "DownloadError" and "cannot be reached" in answer["message"]
    assert "local folder" in answer["hint"] and "smollm2-135m" in answer["hint"]


@pytest.mark.parametrize(
    ("name", "may_be"),
    [("owner/name", True), ("meta-llama/Llama-2-7b-hf", True), ("name", False), ("a/b/c", False), ("../x", False),
     ("/x", False), ("owner/", False), ("./x", False), ("owner/na me", False)],
)  # fmt: skip
def test_the_form_of_a_hub_id(name: str, may_be: bool):
    assert is_hub_id(name) == may_be
