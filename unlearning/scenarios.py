"""Scenarios: a text, its anchors and its probes, ready to be unlearned; and a run's inputs from a user's own files.

    assets/scenarios/<name>/
        scenario.json   title, description, model, text (a file or null), text_licence, teach_first, settings?
        text.md         absent where the text is under copyright: bring your own
        anchors.csv  probes.json  completions.json  themes.txt
        taught/         an adapter that knows the text, with the recipe that made it

What a run is made from is a mapping of input names to contents, as `runs.store.create` takes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearning.config import Settings, TeachSettings, make_settings
from unlearning.errors import InputError
from unlearning.text.anchors import Dictionary, format_dictionary, load_dictionary
from unlearning.text.cloze import make_completions, make_probes
from unlearning.text.documents import Document, read_documents
from unlearning.text.occurrences import find_occurrences
from unlearning.text.prompts import CompletionPrompt, Probe, completion_rows, load_completions, load_probes

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SCENARIOS = ("wonderland", "wizard-school")
DEFAULT = "wonderland"
CONTROLS_OF_COMPLETION = 4  # every so many completions of a user's own text, one neutral prompt

Inputs = dict[str, str | bytes | Path]


@dataclass(frozen=True)
class Scenario:
    """One shipped scenario; see the module's docstring for its files.

    Attributes:
        model: Name of the model that it is made for.
        text: Its text file; None where the user brings one.
        teach_first: Whether the model has to be taught the text before it can forget it.
        settings: What it changes from a preset, by dotted or nested names.
    """

    name: str
    title: str
    description: str
    model: str
    text_licence: str
    folder: Path = field(repr=False)
    text: Path | None = None
    teach_first: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def taught(self) -> Path | None:
        """The shipped adapter that knows the text."""
        folder = self.folder / "taught"
        return folder if (folder / "adapter_config.json").is_file() else None

    def document(self) -> Document:
        """Its text.

        Raises:
            InputError: the scenario brings none.
        """
        if self.text is None:
            raise InputError(
                f"The scenario '{self.name}' brings no text ({self.text_licence}).",
                f"Give your own copy: `python -m unlearning unlearn BOOK.epub --scenario {self.name}`.",
            )
        return read_documents([self.text])

    def dictionary(self) -> Dictionary:
        return load_dictionary(self.folder / "anchors.csv")

    def probes(self) -> list[Probe]:
        return load_probes(self.folder / "probes.json")

    def completions(self) -> list[CompletionPrompt]:
        return load_completions(self.folder / "completions.json")

    def changes(self, teach: bool | None = None) -> dict[str, Any]:
        """What it changes from a preset, as `make_settings` takes it.

        Args:
            teach: Whether to teach the text first, whatever is shipped; None as the scenario needs it.
        """
        wanted = self.teach_first and self.taught is None if teach is None else teach
        return {"model": {"name": self.model}} | dict(self.settings) | ({"teach": lesson(self)} if wanted else {})


def load_scenario(name: str) -> Scenario:
    """The scenario of this name.

    Raises:
        InputError: there is none.
    """
    folder = ASSETS / "scenarios" / name
    if name not in SCENARIOS:
        raise InputError(f"There is no scenario '{name}'.", f"Choose one of: {', '.join(SCENARIOS)}.")
    told = json.loads((folder / "scenario.json").read_text(encoding="utf-8"))
    return Scenario(
        name=name,
        title=told["title"],
        description=told["description"],
        model=told["model"],
        text_licence=told["text_licence"],
        folder=folder,
        text=folder / told["text"] if told.get("text") else None,
        teach_first=bool(told.get("teach_first")),
        settings=told.get("settings", {}),
    )


def lesson(scenario: Scenario | None = None) -> dict[str, Any]:
    """Settings of a teaching stage: those of the scenario's recipe, where it has one, over the plain ones."""
    return TeachSettings().model_dump() | (recipe(scenario).get("teach", {}) if scenario else {})


def recipe(scenario: Scenario) -> dict[str, Any]:
    """How its taught adapter was made; empty where it has none. `teach` holds the settings of the teaching stage."""
    path = scenario.folder / "taught" / "recipe.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return told


def settings_for(
    scenario: Scenario | None,
    preset: str = "standard",
    changes: Mapping[str, Any] | None = None,
    teach: bool | None = None,
    own_text: bool = False,
) -> Settings:
    """A preset, then what the scenario changes, then what somebody chose.

    Args:
        scenario: None for a text that comes without one.
        preset: Where the settings start from.
        changes: What was chosen, by dotted name.
        teach: Whether to teach the text first. None: where a setting of that stage was chosen, and where the
            scenario needs it and its shipped adapter does not fit, because it knows another text.
        own_text: Whether the user's own text takes the place of the scenario's.

    Raises:
        SettingsError: an unknown preset or setting, or a value out of its limits.
    """
    changes = dict(changes or {})
    if teach is False:
        changes = {path: value for path, value in changes.items() if not path.startswith("teach.")}
    elif any(path.startswith("teach.") for path in changes):
        teach = True
    if scenario is None:
        return make_settings(preset, ({"teach": lesson()} if teach else {}) | changes)
    if teach is None and changes.get("model.name", scenario.model) != scenario.model:
        teach = False  # whoever chooses another model chooses one that knows the text, or says --teach
    elif teach is None and own_text:
        teach = scenario.teach_first
    return make_settings(preset, scenario.changes(teach) | changes)


def inputs_of(
    scenario: Scenario,
    settings: Settings | None = None,
    dictionary: Dictionary | None = None,
    probes: Sequence[Probe] = (),
    completions: Sequence[CompletionPrompt] = (),
) -> Inputs:
    """The inputs of a run on a scenario's own text.

    Args:
        scenario: With a text of its own.
        settings: Those of the run. The taught adapter goes along where it fits them: the scenario's own model,
            and nothing taught by the run itself.
        dictionary: Other anchors than the scenario's.
        probes: Other probes than the scenario's.
        completions: Other prompts to complete than the scenario's.

    Raises:
        InputError: the scenario brings no text.
    """
    inputs = inputs_of_text(scenario.document(), dictionary, scenario=scenario, probes=probes, completions=completions)
    fits = settings is None or (settings.model.name == scenario.model and settings.teach is None)
    return inputs | ({"taught": scenario.taught} if scenario.taught and fits else {})


def inputs_of_text(
    document: Document,
    dictionary: Dictionary | None = None,
    *,
    scenario: Scenario | None = None,
    probes: Sequence[Probe] = (),
    completions: Sequence[CompletionPrompt] = (),
) -> Inputs:
    """The inputs of a run on any text.

    Args:
        document: The text.
        dictionary: Its anchors; those of the scenario where there is one, else proposed from the text.
        scenario: Whose anchors, probes and prompts to use with this text.
        probes: Probes of the user; without any, those of the scenario, else made from the text. Controls are added
            where there are none.
        completions: Prompts to complete, likewise; neutral ones are added.
    """
    if dictionary is None:
        dictionary = scenario.dictionary() if scenario else propose(document)
    inputs: Inputs = _scenario_files(scenario) if scenario else _made_from_text(document, dictionary)
    if probes:
        inputs["probes.json"] = _dump_probes(with_controls(probes, dictionary))
    if completions:
        neutral = _control_prompts(with_controls([], dictionary))
        inputs["completions.json"] = _dump_completions([*completions, *neutral])
    return inputs | {"text.txt": document.text, "anchors.json": format_dictionary(dictionary, "json")}


def propose(document: Document) -> Dictionary:
    """Anchors proposed from the text alone.

    Raises:
        InputError: the text has no expression of its own.
    """
    from unlearning.text.proposals import propose_offline

    dictionary = propose_offline(document.text)
    if not dictionary.anchors:
        raise InputError(
            f"No expression of '{document.title}' stands out, so no anchors could be proposed.",
            "Give a dictionary with --anchors, or a longer text.",
        )
    return dictionary


def default_controls() -> list[Probe]:
    """Neutral prompts whose probabilities should not move, whatever is unlearned."""
    return load_probes(ASSETS / "controls.json")


def with_controls(probes: Sequence[Probe], dictionary: Dictionary) -> list[Probe]:
    """`probes`, with the default controls where there is no control among them.

    A control that holds an anchor is no control: of a text about Paris, "The capital of France is" would fall too.
    """
    if any(probe.kind == "control" for probe in probes):
        return list(probes)
    neutral = [p for p in default_controls() if not find_occurrences(p.prompt + " ".join(p.targets), dictionary)]
    return [*probes, *neutral]


def _scenario_files(scenario: Scenario) -> Inputs:
    files = {file: scenario.folder / file for file in ("probes.json", "completions.json", "themes.txt")}
    return _prose() | files


def _made_from_text(document: Document, dictionary: Dictionary) -> Inputs:
    controls = with_controls([], dictionary)
    prompts = [*make_completions(document.text, dictionary), *_control_prompts(controls)]
    return _prose() | {
        "probes.json": _dump_probes([*make_probes(document.text, dictionary), *controls]),
        "completions.json": _dump_completions(prompts),
    }


def _control_prompts(controls: Sequence[Probe]) -> list[CompletionPrompt]:
    return [CompletionPrompt(probe.prompt, "control") for probe in controls[::CONTROLS_OF_COMPLETION]]


def _prose() -> Inputs:
    """Plain prose: what the model has to stay good at, and other prose to measure that it did."""
    return {"retain.txt": _clean(ASSETS / "retain.md"), "unrelated.txt": _clean(ASSETS / "retain_test.md")}


def _clean(path: Path) -> str:
    return read_documents([path]).text


def _dump_probes(probes: Sequence[Probe]) -> str:
    rows = [{"prompt": p.prompt, "targets": list(p.targets), "kind": p.kind, "note": p.note} for p in probes]
    return json.dumps(rows, ensure_ascii=False)


def _dump_completions(prompts: Sequence[CompletionPrompt]) -> str:
    return json.dumps(completion_rows(prompts), ensure_ascii=False)
