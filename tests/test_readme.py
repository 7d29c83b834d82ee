"""The README tells the truth: links lead somewhere, commands and options exist, tables are those of the program."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from unlearning.cli import app
from unlearning.commands.readme import TABLES, updated
from unlearning.commands.settings import all_settings
from unlearning.config import PRESETS
from unlearning.models.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
LINES = [line.split("#")[0].strip() for block in CODE for line in block.splitlines()] + INLINE
PROGRAM = "python -m unlearning "


def front_matter():
    _, block, _ = README.split("---\n", 2)
    return dict(re.findall(r"^(\w+): (.+)$", block, flags=re.MULTILINE))


def resolve(words):
    """The command that some words call, and what is left of them."""
    command, words = typer.main.get_command(app), list(words)
    while hasattr(command, "commands"):
        assert words, "a command is missing"
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(PROGRAM) and "COMMAND" not in line])
def test_commands_and_their_options_exist(line):
    command, left = resolve(shlex.split(line.removeprefix(PROGRAM)))
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in left if word.startswith("--")} <= known


def test_enough_commands_were_looked_at():
    assert sum(line.startswith(PROGRAM) for line in LINES) >= 8


def test_modules_that_are_called_exist():
    for module in re.findall(r"python -m (unlearning\.[\w.]+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {words[1] for line in LINES if (words := line.split())[:1] == ["make"] and len(words) > 1}
    assert {"app", "test", "check"} <= named
    for target in named:
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE), target


def test_files_that_are_named_exist():
    named = re.findall(r"(?:requirements|constraints)[\w-]*\.txt|`((?:unlearning|assets|tests)/[\w/.]*)`", README)
    for path in filter(None, named):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"[\w-]+\.txt", " ".join(LINES)):
        assert (ROOT / path).is_file(), path


def test_links_lead_somewhere():
    titles = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_the_program(name):
    assert f"<!-- {name}: begin" in README
    assert TABLES[name]() in README, "run `python -m unlearning.commands.readme`"


def test_updating_is_idempotent():
    assert updated(README) == README


def test_every_setting_and_preset_is_in_it():
    for setting in all_settings():
        assert f"`{setting.path}`" in README
    for preset in PRESETS:
        assert f"`{preset}`" in README
    for name, entry in CATALOGUE.items():
        assert f"`{name}` | {entry.licence}" in README or f"`{name}` | [{entry.licence}]" in README


def test_environment_variables_are_read_somewhere():
    source = "".join(path.read_text() for path in (ROOT / "unlearning").rglob("*.py"))
    for name in set(re.findall(r"\bUNLEARNING_\w+", README)):
        assert f'"{name}"' in source, name


def test_front_matter_is_what_a_space_needs():
    front = front_matter()
    assert front["sdk"] == "gradio"
    (pinned,) = re.findall(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert front["sdk_version"] == pinned
    assert (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60


def test_every_requirement_says_which_part_needs_it():
    for file in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        for line in (ROOT / file).read_text().splitlines():
            assert line.startswith(("#", "-r ")) or re.fullmatch(r"[\w-]+==[\w.]+ +# \S.*", line), line
