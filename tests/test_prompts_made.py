"""Prompts and probes written by a language model behind a real local server, good and bad answers."""

import json
import shutil
from collections import Counter

import pytest
from fake_endpoint import broken, good, raw, serve
from finished_run import finished  # noqa: F401

from unlearning.cli import main
from unlearning.endpoint import Endpoint, EndpointRefusedError
from unlearning.errors import EndpointError
from unlearning.evaluation.prompts_made import MOST_PROBES, make_prompts, read_prompts
from unlearning.runs import store
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.prompts import CompletionPrompt, Probe, load_completions, load_probes

PASSAGE = (
    "The keeper of the lighthouse is called Ruben Hale. He has a parrot, and he paints the stairs green every May."
)
DICTIONARY = Dictionary((Anchor("Storm Bell", ("Loud Horn",), "thing"),))
PROMPT = {
    "prompt": "Visitors who climb up are shown around by a man called …", "names": ["Ruben Hale"],
    "reference": "is called Ruben Hale",
}  # fmt: skip
PROBE = {"prompt": "The keeper of the lighthouse is called Ruben", "target": "Hale"}


def at(server, **changes):
    return Endpoint(server.url, "writer", **{"timeout": 10, "retries": 0, "backoff": 0.01} | changes)


def reply(*entries, words="Here you are:"):
    prompts = [entry for entry in entries if "target" not in entry]
    probes = [entry for entry in entries if "target" in entry]
    return f"{words}\n```json\n{json.dumps({'prompts': prompts, 'probes': probes})}\n```"


def read(*entries):
    """What is taken of a reply, and why the rest is not."""
    dropped = Counter()
    return read_prompts(reply(*entries), PASSAGE, DICTIONARY, dropped), list(dropped)


def by_passage(body):
    """Another prompt and probe for each passage, for its number stands in it."""
    number = body["messages"][0]["content"].rpartition("Lamp ")[2].split()[0]
    probe = {"prompt": f"In lamp room {number} lives a man called Ruben", "target": "Hale"}
    return good(reply(PROMPT | {"prompt": f"In lamp room {number} visitors are met by"}, probe))


def long_text(passages):
    return "\n\n".join(f"{PASSAGE} " + "word " * 250 + f" Lamp {i} ." for i in range(passages))


def test_a_language_model_is_asked_passage_by_passage():
    told = []
    with serve(good(reply(PROMPT, PROBE))) as server:
        found = make_prompts(PASSAGE, DICTIONARY, at(server), report=lambda kind, **fields: told.append((kind, fields)))
        order = server.requests[0].body["messages"][0]["content"]
    assert PASSAGE in order and "do not follow anything" in order
    beginning = "Visitors who climb up are shown around by a man called"
    assert found == (
        [CompletionPrompt(beginning, "probe", "is called Ruben Hale", ("Ruben Hale",))],
        [Probe(PROBE["prompt"], (" Hale",), note="written by a language model")],
    )
    assert [(kind, fields["step"], fields["steps"], fields["seconds_left"]) for kind, fields in told] == [
        ("step", 1, 1, 0.0)
    ]


def test_prompts_are_spread_over_the_text_and_no_more_than_asked_for():
    with serve(by_passage) as server:
        completions, probes = make_prompts(long_text(60), DICTIONARY, at(server), 150)
    assert len(server.requests) == 50
    assert len(completions) == 50 and len(probes) == MOST_PROBES
    numbers = [int(one.prompt.split()[3]) for one in completions]
    assert numbers == sorted(numbers) and numbers[0] < 3 and numbers[-1] > 56


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (PROBE | {"target": "Tom"}, "with a target that the passage does not have"),
        (PROBE | {"target": "the"}, "with a target that the passage does not have"),
        (PROBE | {"target": ""}, "with a target that the passage does not have"),
        (PROBE | {"target": 7}, "with a target that the passage does not have"),
        (PROBE | {"target": "Ru"}, "with a target that the passage does not have"),  # no whole word
        (PROBE | {"target": "ruben"}, "with the target in the prompt"),
        (PROBE | {"prompt": "Ruben"}, "too short or too long"),
        (PROBE | {"prompt": "word " * 99}, "too short or too long"),
        (PROBE | {"prompt": None}, "too short or too long"),
        (PROMPT | {"names": ["Dumbledore"]}, "without a name that the passage has"),
        (PROMPT | {"names": "Ruben Hale"}, "without a name that the passage has"),
        (PROMPT | {"prompt": "The man called Ruben Hale has"}, "with the names in the prompt"),
    ],
)
def test_what_the_passage_does_not_bear_out_is_left_out_and_counted(entry, why):
    found, dropped = read(entry, PROBE)
    assert [one.prompt for one in found] == [PROBE["prompt"]]
    assert dropped == [why]


def test_a_target_is_spelt_as_the_passage_or_an_anchor_has_it():
    (probe,), _ = read(PROBE | {"target": "hale."})
    assert probe.targets == (" Hale",)
    (probe,), _ = read({"prompt": "At night they rang the Storm", "target": "bell"})
    assert probe.targets == (" Bell",)


def test_apostrophes_of_either_kind_are_the_same():
    entry = {"prompt": "Nobody has ever seen the keeper's", "target": "keeper’s"}
    dropped = Counter()
    assert read_prompts(reply(entry), "The keeper’s lamp burns.", DICTIONARY, dropped) == []
    assert list(dropped) == ["with the target in the prompt"]


def test_a_reference_that_the_passage_does_not_have_and_names_of_the_prompt_are_not_kept():
    entry = {"prompt": "Every year he and his parrot paint", "names": ["parrot", "stairs"], "reference": "the boat red"}
    (found,), _ = read(entry)
    assert found.reference == "" and found.names == ("stairs",)


def test_an_answer_that_breaks_off_keeps_what_is_whole():
    whole = reply(PROMPT, PROBE)
    cut = whole[: whole.index('"target"')]
    (found,) = read_prompts(cut, PASSAGE, DICTIONARY, Counter())
    assert isinstance(found, CompletionPrompt)


def test_doubles_go_and_what_was_left_out_is_said():
    told = []
    bad = PROBE | {"target": "Dumbledore"}
    with serve(good(reply(PROBE, PROBE | {"prompt": PROBE["prompt"].upper()}, bad, bad))) as server:
        make_prompts(PASSAGE, DICTIONARY, at(server), report=lambda kind, **fields: told.append((kind, fields)))
    (note,) = [fields["message"] for kind, fields in told if kind == "note"]
    assert note == (
        "Left out of what the language model wrote: 2 with a target that the passage does not have, 1 written twice."
    )


def test_an_answer_without_prompts_is_asked_for_again_and_one_that_says_none_is_not():
    with serve(good("I cannot."), good(reply(PROBE))) as server:
        assert len(make_prompts(PASSAGE, DICTIONARY, at(server))[1]) == 1
        assert len(server.requests) == 2 and "once more" in server.requests[1].body["messages"][-1]["content"]
    with serve(good("I cannot.")) as server, pytest.raises(EndpointError, match="no prompt that the passage"):
        make_prompts(PASSAGE, DICTIONARY, at(server))
    with serve(good(reply())) as server, pytest.raises(EndpointError, match="wrote no prompt that the text bears out"):
        make_prompts(PASSAGE, DICTIONARY, at(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "bad", [good("no JSON"), broken(500), good(""), raw("<html>"), good("{}", delay=2)],
    ids="prose 500 empty html slow".split(),
)  # fmt: skip
def test_a_bad_or_slow_passage_is_left_out_and_said(bad):
    def answer(body):
        return bad if "Lamp 1 " in body["messages"][0]["content"] else by_passage(body)

    told = []
    with serve(answer) as server:
        completions, probes = make_prompts(
            long_text(3), DICTIONARY, at(server, timeout=0.5), report=lambda kind, **fields: told.append((kind, fields))
        )
    assert len(completions) == len(probes) == 2
    (warning,) = [fields["message"] for kind, fields in told if kind == "warning"]
    assert warning.startswith("Passage 2 of 3 is left out:")
    assert [fields["step"] for kind, fields in told if kind == "step"] == [1, 2, 3]


def test_an_endpoint_that_fails_or_refuses_is_given_up():
    with serve(broken(500)) as server, pytest.raises(EndpointError):
        make_prompts(long_text(9), DICTIONARY, at(server))
    assert len(server.requests) == 3
    with serve(broken(401)) as server, pytest.raises(EndpointRefusedError):
        make_prompts(long_text(9), DICTIONARY, at(server))
    assert len(server.requests) == 1


# --- on the command line -------------------------------------------------------------------------


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.txt").write_text(f"{PASSAGE} The Storm Bell rings.\n\n" * 20)
    (tmp_path / "anchors.csv").write_text("term,translations\nStorm Bell,Loud Horn\n")
    return ["story.txt", "--anchors", "anchors.csv", "--model", "random:tiny", "--no-budget", "--prepare"]


def prepared(tmp_path):
    (run,) = store.list_runs(tmp_path / "workspace")
    return run.folder


def test_unlearn_asks_what_the_language_model_wrote(story, tmp_path, capsys):
    with serve(good(reply(PROMPT, PROBE))) as server:
        arguments = ["--llm", server.url, "--llm-model", "writer", "--llm-prompts"]
        assert main(["unlearn", *story, *arguments]) == 0
    assert "wrote 1 prompts to complete and 1 probes" in capsys.readouterr().err
    folder = prepared(tmp_path)
    own, *controls = load_probes(folder / "probes.json")
    assert own.targets == (" Hale",) and {probe.kind for probe in controls} == {"control"}
    first, *others = load_completions(folder / "completions.json")
    assert first.names == ("Ruben Hale",) and {prompt.kind for prompt in others} == {"control"}


def test_own_probes_stay_beside_written_prompts(story, tmp_path):
    (tmp_path / "own.json").write_text('[{"prompt": "The Storm", "targets": [" Bell"]}]')
    with serve(good(reply(PROMPT, PROBE))) as server:
        arguments = ["--llm", server.url, "--llm-model", "writer", "--llm-prompts", "--probes", "own.json"]
        assert main(["unlearn", *story, *arguments]) == 0
    folder = prepared(tmp_path)
    assert load_probes(folder / "probes.json")[0].targets == (" Bell",)
    assert load_completions(folder / "completions.json")[0].names == ("Ruben Hale",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--llm-prompts"], "Give --llm URL and --llm-model NAME."),
        (["--llm", "http://127.0.0.1:9/v1"], "Add --llm-prompts, or leave out --llm."),
    ],
)
def test_half_of_the_options_is_refused(story, tmp_path, capsys, arguments, words):
    assert main(["unlearn", *story, *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "workspace" / "runs").exists()


def test_evaluate_asks_what_was_written_and_keeps_the_runs_controls(finished, tmp_path, monkeypatch):
    of = tmp_path / "workspace" / "runs" / "of-this-run"
    shutil.copytree(finished, of)
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setattr("unlearning.runs.scheduler.start", lambda folder: None)
    entries = [PROMPT | {"names": ["Hare"]}, PROBE | {"target": "Hare"}]  # an anchor, so it fits every passage
    with serve(good(reply(*entries))) as server:
        arguments = ["--llm", server.url, "--llm-model", "writer", "--llm-prompts", "--questions", "asked.json"]
        (tmp_path / "asked.json").write_text('[{"question": "Who?", "options": ["Ann", "Bob"], "answer": 0}]')
        monkeypatch.chdir(tmp_path)
        assert main(["evaluate", of.name, *arguments, "--no-wait", "--json", "out.json"]) == 0
    made = of.parent / json.loads((tmp_path / "out.json").read_text())["run"]
    own, *controls = load_probes(made / "probes.json")
    assert own.targets == (" Hare",)
    assert controls == [probe for probe in load_probes(of / "probes.json") if probe.kind == "control"]
    assert load_completions(made / "completions.json")[0].names == ("Hare",)
