"""Probe and prompt files: lossless, and every way to get one wrong has its own message."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning.errors import PromptError
from unlearning.text.prompts import (
    CompletionPrompt,
    Probe,
    load_completions,
    load_probes,
    parse_completions,
    parse_probes,
    save_completions,
    save_probes,
)

WORDS = st.text(min_size=1, max_size=12).filter(str.strip)
PROBES = st.builds(
    Probe,
    WORDS,
    st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from(["probe", "control"]),
    st.text(max_size=8),
    st.booleans(),
)


@settings(deadline=None)
@given(probes=st.lists(PROBES, min_size=1, max_size=5))
def test_probes_survive_the_way_to_json_and_back(probes, tmp_path_factory):
    path = tmp_path_factory.mktemp("probes") / "p.json"
    save_probes(probes, path)
    assert load_probes(path) == probes


def test_completions_survive_the_file_and_may_be_plain_strings(tmp_path):
    path = tmp_path / "c.json"
    prompts = [CompletionPrompt("Alice sat"), CompletionPrompt("Bread is made of", "control")]
    told = [CompletionPrompt("The tea was poured by", "probe", "the March Hare", ("Hare", "Dormouse"))]
    save_completions(prompts + told, path)
    assert load_completions(path) == prompts + told
    assert parse_completions(["Alice sat", {"prompt": "Bread is made of", "kind": "control"}]) == prompts


def test_the_short_form_is_enough_and_more_is_passed_over():
    answer = {"prompt": "The Cheshire", "targets": [" Cat"], "roles": {"baseline": {"top": []}}}
    assert parse_probes([answer]) == [Probe("The Cheshire", (" Cat",), "probe", "")]


def test_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"prompt": "a", "targets": ["b"]}]), encoding="utf-8-sig")
    assert load_probes(path) == [Probe("a", ("b",))]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"prompt": "a"}, ["not a list"]),
        ([], ["empty"]),
        (["a"], ["Entry 1", '"a"', '"targets"']),
        ([{"prompt": "a", "targets": ["b"]}, {"targets": ["b"]}], ["Entry 2", "prompt is missing"]),
        ([{"prompt": " ", "targets": ["b"]}], ["Entry 1", 'prompt is " "']),
        ([{"prompt": "a", "target": ["b"]}], ["Entry 1", "targets is missing"]),
        ([{"prompt": "a", "targets": "b"}], ["Entry 1", 'targets is "b"', "list"]),
        ([{"prompt": "a", "targets": []}], ["targets is []"]),
        ([{"prompt": "a", "targets": [7]}], ["target 7"]),
        ([{"prompt": "a", "targets": [" "]}], ['target " "']),
        ([{"prompt": "a \ud83d", "targets": ["b"]}], ['prompt is "a ?"']),
        ([{"prompt": "a", "targets": ["b", "b"]}], ["twice", "Keep one"]),
        ([{"prompt": "a", "targets": ["b"], "kind": "contol"}], ['"contol"', "probe, control"]),
    ],
)
def test_a_wrong_probe_is_named(data, words):
    with pytest.raises(PromptError) as caught:
        parse_probes(data, "probes.json")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("data", [[3], [{"kind": "probe"}], [""], [{"prompt": "a", "kind": None}]])
def test_a_wrong_completion_prompt_is_named(data):
    with pytest.raises(PromptError, match="Entry 1"):
        parse_completions(data)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PromptError, match=r"There is no file .*none\.json"):
        load_probes(tmp_path / "none.json")
    with pytest.raises(PromptError, match="cannot be read"):
        load_probes(tmp_path)
    (tmp_path / "bad.json").write_text('[{"prompt": "a",]')
    with pytest.raises(PromptError, match=r"bad\.json is not JSON .*line 1"):
        load_probes(tmp_path / "bad.json")
    (tmp_path / "latin.json").write_bytes('["café"]'.encode("latin-1"))
    with pytest.raises(PromptError, match="UTF-8"):
        load_completions(tmp_path / "latin.json")
