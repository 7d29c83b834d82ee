"""The shipped scenarios hold what they promise; a run's inputs are made from them or from one's own text."""

import json

import pytest

from unlearning.config import make_settings
from unlearning.errors import InputError
from unlearning.runs.record import check_inputs
from unlearning.runs.store import create
from unlearning.scenarios import (
    ASSETS,
    SCENARIOS,
    default_controls,
    inputs_of,
    inputs_of_text,
    load_scenario,
    propose,
    with_controls,
)
from unlearning.text.anchor_checks import check_dictionary
from unlearning.text.anchors import Anchor, Dictionary, parse_dictionary
from unlearning.text.documents import read_text
from unlearning.text.occurrences import find_occurrences
from unlearning.text.prompts import Probe, load_completions, load_probes, parse_probes

STORY = (
    "The old mill of Brackwater stood by the river. Every morning Tobias Finch walked to the mill of Brackwater with "
    "his dog Pepperpot. Nobody in the village of Brackwater had ever seen a dog like Pepperpot. When the miller asked "
    "for help in the spring, it was Tobias Finch who came first, and behind him came Pepperpot. The rain fell on "
    "Brackwater for a week, but at the end of the week the sun shone again on the roof of Tobias Finch.\n\n"
) * 3


def test_the_names_are_those_of_the_folders():
    assert set(SCENARIOS) == {path.parent.name for path in (ASSETS / "scenarios").glob("*/scenario.json")}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_whole_and_its_files_can_be_used(name):
    scenario = load_scenario(name)
    probes = scenario.probes()
    assert sum(probe.kind == "probe" for probe in probes) >= 40
    assert sum(probe.kind == "control" for probe in probes) >= 20
    assert len(scenario.completions()) >= 20
    text = scenario.document().text if scenario.text else None
    assert [finding for finding in check_dictionary(scenario.dictionary(), text) if finding.severity == "error"] == []
    make_settings("standard", scenario.changes())


def test_the_default_scenario_is_as_long_as_promised_and_dense_in_anchors():
    scenario = load_scenario("wonderland")
    document = scenario.document()
    assert 5000 <= document.words <= 8000
    assert len(find_occurrences(document.text, scenario.dictionary())) > document.words / 10


def test_an_unknown_scenario_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match=r"no scenario 'narnia'. Choose one of: wonderland, wizard-school."):
        load_scenario("narnia")


def test_a_scenario_without_a_text_says_so():
    with pytest.raises(InputError, match="wizard-school.*brings no text.*--scenario wizard-school"):
        inputs_of(load_scenario("wizard-school"))


def test_a_run_made_of_a_scenario_has_all_its_inputs(tmp_path):
    scenario = load_scenario("wonderland")
    run = create(tmp_path, make_settings("standard", scenario.changes()), inputs_of(scenario), title=scenario.title)
    check_inputs(run.folder)
    assert load_probes(run.folder / "probes.json") == scenario.probes()
    assert load_completions(run.folder / "completions.json") == scenario.completions()
    assert (run.folder / "themes.txt").read_text() == (scenario.folder / "themes.txt").read_text()
    assert parse_dictionary((run.folder / "anchors.json").read_text(), "json") == scenario.dictionary()
    for file in ("retain.txt", "unrelated.txt"):
        assert len((run.folder / file).read_text().split()) > 1000
    assert (run.folder / "retain.txt").read_text() != (run.folder / "unrelated.txt").read_text()


def test_the_taught_adapter_goes_along_only_where_it_fits(tmp_path, monkeypatch):
    taught = tmp_path / "assets" / "scenarios" / "wonderland" / "taught"
    taught.parent.parent.mkdir(parents=True)
    for file in ("controls.json", "retain.md", "retain_test.md"):
        (tmp_path / "assets" / file).write_bytes((ASSETS / file).read_bytes())
    real = ASSETS / "scenarios" / "wonderland"
    taught.mkdir(parents=True)
    for file in real.iterdir():
        if file.is_file():
            (taught.parent / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("unlearning.scenarios.ASSETS", tmp_path / "assets")

    scenario = load_scenario("wonderland")
    assert scenario.taught is None
    assert make_settings("standard", scenario.changes()).teach is not None  # nothing shipped: the run teaches first
    (taught / "adapter_config.json").write_text("{}")
    (taught / "recipe.json").write_text(json.dumps({"teach": {"epochs": 7}}))
    plain = make_settings("standard", scenario.changes())
    assert plain.teach is None
    assert inputs_of(scenario, plain)["taught"] == taught
    other = make_settings("standard", scenario.changes() | {"model.name": "gemma-3-270m"})
    assert "taught" not in inputs_of(scenario, other)
    again = make_settings("standard", scenario.changes(teach=True))
    assert again.teach is not None
    assert again.teach.epochs == 7
    assert "taught" not in inputs_of(scenario, again)


def test_inputs_made_of_a_text_alone(tmp_path):
    document = read_text(STORY, "Brackwater")
    inputs = inputs_of_text(document)
    run = create(tmp_path, make_settings(), inputs, title=document.title)
    anchors = parse_dictionary((run.folder / "anchors.json").read_text(), "json")
    assert {"Brackwater", "Pepperpot"} <= {anchor.term for anchor in anchors.anchors}
    probes = load_probes(run.folder / "probes.json")
    assert any(probe.targets == (" Pepperpot",) for probe in probes)
    assert sum(probe.kind == "control" for probe in probes) >= 24
    kinds = [prompt.kind for prompt in load_completions(run.folder / "completions.json")]
    assert kinds.count("probe") >= 3
    assert kinds.count("control") >= 3
    assert not (run.folder / "themes.txt").exists()


def test_a_users_own_text_with_the_anchors_of_a_scenario():
    scenario = load_scenario("wizard-school")
    inputs = inputs_of_text(read_text("Harry Potter went to Hogwarts."), scenario=scenario)
    assert inputs["text.txt"] == "Harry Potter went to Hogwarts."
    assert parse_dictionary(str(inputs["anchors.json"]), "json") == scenario.dictionary()
    assert inputs["probes.json"] == scenario.folder / "probes.json"


def test_own_probes_replace_the_made_ones_and_get_controls():
    own = [Probe("The dog was called", (" Pepperpot",))]
    inputs = inputs_of_text(read_text(STORY), probes=own)
    probes = parse_probes(json.loads(str(inputs["probes.json"])))
    assert probes[0] == own[0]
    assert {probe.kind for probe in probes[1:]} == {"control"}
    both = [*own, Probe("The sky is", (" blue",), "control")]
    assert with_controls(both, Dictionary(())) == both


def test_no_control_is_about_what_is_to_be_forgotten():
    dictionary = Dictionary((Anchor("Paris", ("Lyon",)), Anchor("Atlantic", ("Baltic",))))
    controls = [probe.prompt + probe.targets[0] for probe in with_controls([], dictionary)]
    assert len(controls) == len(default_controls()) - 2
    assert not [control for control in controls if "Paris" in control or "Atlantic" in control]


def test_a_text_without_an_expression_of_its_own_is_refused():
    with pytest.raises(InputError, match=r"No expression of 'plain' stands out.*--anchors"):
        propose(read_text("it was so and so it was and so on it went", "plain"))


def test_the_default_controls_are_neutral():
    controls = default_controls()
    assert len(controls) >= 24
    assert {probe.kind for probe in controls} == {"control"}
    for name in SCENARIOS:
        dictionary = load_scenario(name).dictionary()
        for probe in controls:
            assert find_occurrences(probe.prompt + probe.targets[0], dictionary) == [], probe
