"""The form and the command line stand for the same settings."""

import shlex

import pytest
from typer.testing import CliRunner

from unlearning.commands.settings import all_settings
from unlearning.config import PRESETS, make_settings
from unlearning.errors import SettingsError
from unlearning.scenarios import lesson, settings_for
from unlearning.ui import form


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("teach", [False, True])
def test_form_stands_for_the_settings_that_fill_it(preset, teach):
    settings = make_settings(preset, {"teach": lesson()} if teach else {})
    assert form.read(*form.values_of(settings)) == settings


def test_every_setting_has_a_field():
    shown = [setting.path for setting in form.advanced()] + [*form.APART, "preset"]
    assert sorted(shown) == sorted([setting.path for setting in all_settings()] + ["preset"])


def test_numbers_arrive_as_the_browser_sends_them():
    values = form.values_of(make_settings())
    paths = [setting.path for setting in form.advanced()]
    values[4 + paths.index("finetune.epochs")] = 3.0
    values[4 + paths.index("text.max_tokens")] = ""
    values[4 + paths.index("label.alpha")] = 2
    settings = form.read(*values)
    assert settings.finetune.epochs == 3 and settings.text.max_tokens is None and settings.label.alpha == 2.0


@pytest.mark.parametrize(("path", "value", "words"), [
    ("label.alpha", -1, "label.alpha = -1"), ("finetune.epochs", 2.5, "finetune.epochs"), ("seed", None, "seed"),
    ("finetune.learning_rate", "fast", "finetune.learning_rate"), ("teach.epochs", 0, "teach.epochs = 0"),
])  # fmt: skip
def test_refusals_are_the_engines_sentences(path, value, words):
    setting = next(setting for setting in form.advanced() if setting.path == path)
    said = form.check_field(setting, value)
    assert words in said
    values = form.values_of(make_settings("standard", {"teach": lesson()}))
    values[4 + form.advanced().index(setting)] = value
    with pytest.raises(SettingsError) as refused:
        form.read(*values)
    assert str(refused.value) == said


def test_fields_that_are_fine_are_not_refused():
    settings = make_settings("standard", {"teach": lesson()})
    for setting, value in zip(form.advanced(), form.values_of(settings)[4:], strict=True):
        assert form.check_field(setting, value) == ""


@pytest.mark.parametrize("changes", [
    {}, {"label.alpha": 2.5, "label.use_anchors": False, "text.max_tokens": 4000, "model.name": "gemma-3-270m"},
    {"finetune.clip_norm": None, "seed": 7, "model.accept_licence": True}, {"teach": lesson() | {"epochs": 7}},
])  # fmt: skip
@pytest.mark.parametrize("preset", ["standard", "paper"])
def test_command_line_gives_the_same_settings(preset, changes):
    settings = make_settings(preset, changes)
    base = settings_for(None, preset)
    command = form.command_line(settings, base, ["my book.txt", "--anchors", "anchors.csv"])
    assert parsed(command) == settings


def test_command_line_of_a_scenario_says_only_what_differs():
    base = settings_for_scenario()
    assert form.command_line(base, base, ["--scenario", "wonderland"]).endswith("unlearn --scenario wonderland")


def settings_for_scenario():
    from unlearning.scenarios import load_scenario

    return settings_for(load_scenario("wonderland"))


def parsed(command):
    """The settings that the real command line makes of a command, by asking it without doing anything."""
    import typer

    from unlearning.commands.settings import with_settings

    found = {}
    app = typer.Typer()

    @app.command()
    @with_settings()
    def unlearn(
        text: list[str], anchors: str = "", preset: str = "standard", teach: bool | None = None, *, changes: dict
    ):
        found["settings"] = settings_for(None, preset, changes, teach)

    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "unlearning", "unlearn"]
    done = CliRunner().invoke(app, words[4:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return found["settings"]


def test_kept_settings_come_back():
    settings = make_settings("thorough", {"label.alpha": 1, "teach": lesson() | {"epochs": 9}, "model.name": "x/y"})
    kept = form.kept(settings)
    assert make_settings(kept["preset"], kept["changes"]) == settings
    assert "teach" not in form.kept(make_settings())["changes"]
