"""The length of a text for a model: counted where the model's tokenizer is on this machine now."""

import json
import os

import pytest
from tokenizers_for_tests import byte_level_bpe

from unlearning.models import catalogue
from unlearning.ui.counting import measure_length

TEXT = "The heron told the miller what the river said. " * 20
MODEL = "smollm2-135m"


def place_model(home, **changes):
    """What is looked at of a fetched model: its record and its tokenizer."""
    folder = home / "models" / MODEL
    folder.mkdir(parents=True)
    byte_level_bpe().save_pretrained(folder)
    entry = catalogue.CATALOGUE[MODEL]
    record = {"sha256": entry.sha256, "conversion": catalogue.CONVERSION, "files": {}} | changes
    (folder / catalogue.RECORD).write_text(json.dumps(record))
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_model_that_is_fetched_later_is_noticed(home):
    guessed = measure_length(TEXT, MODEL)
    assert not guessed.counted
    place_model(home)
    counted = measure_length(TEXT, MODEL)
    assert counted.counted and counted.tokens != guessed.tokens and counted.blocks > 0


def test_another_folder_of_models_knows_nothing_of_the_first(home, tmp_path, monkeypatch):
    place_model(home)
    assert measure_length(TEXT, MODEL).counted
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "another"))
    assert not measure_length(TEXT, MODEL).counted


def test_a_tokenizer_that_was_replaced_counts_anew(tmp_path):
    byte_level_bpe().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    many = measure_length(TEXT, str(tmp_path)).tokens
    content = json.loads(path.read_text())
    content["model"]["merges"] = []  # letter by letter
    path.write_text(json.dumps(content))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    assert measure_length(TEXT, str(tmp_path)).tokens > many
