"""The command line: what it offers, how it refuses, and a whole run of it with a tiny random model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from fake_endpoint import broken, serve
from runs_for_tests import processes_of, wait_until

from unlearning.cli import app, main
from unlearning.commands.settings import all_settings, parse_sets
from unlearning.config import PRESETS, make_settings
from unlearning.errors import SettingsError
from unlearning.evaluation.questions import load_questions
from unlearning.runs import store
from unlearning.text.anchors import load_dictionary

ROOT = Path(__file__).parents[1]
STORY = (
    "The old mill of Brackwater stood by the river. Every morning Tobias Finch walked to the mill of Brackwater with "
    "his dog Pepperpot. Nobody in the village of Brackwater had ever seen a dog like Pepperpot. When the miller asked "
    "for help in the spring, it was Tobias Finch who came first, and behind him came Pepperpot.\n\n"
) * 6
WORDS = f"“story” has {len(STORY.split())} words."
TINY = ["--model", "random:tiny", "--text-block-tokens", "128", "--model-dtype", "float32", "--no-budget"]
SHORT = ["--reinforce-epochs", "1", "--finetune-epochs", "1", "--finetune-retain-weight", "0"]
SHORT += ["--evaluation-completions", "3", "--evaluation-completion-tokens", "5"]


def run_cli(*arguments, workspace, timeout=240):
    """The command line as a process of its own."""
    own = {"UNLEARNING_WORKSPACE": str(workspace), "UNLEARNING_SLOTS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", "unlearning", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
        timeout=timeout, env=os.environ | own,
    )  # fmt: skip


def end_processes_of(folder):
    """The scheduler stays a while when its work is done; a test leaves nothing behind."""
    for process in processes_of(folder, "unlearning.runs.scheduler"):
        process.kill()
    assert wait_until(lambda: not processes_of(folder), 10)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "workspace"


@pytest.fixture
def story(tmp_path):
    (tmp_path / "story.txt").write_text(STORY)
    return tmp_path / "story.txt"


def commands(group=None, path=()):
    """Every command that does something, with the words that call it."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


# --- what it offers ------------------------------------------------------------------------------


def test_the_commands_are_those_promised():
    words = {path[0] for path, _ in commands()}
    assert words == {
        "demo", "teach", "anchors", "unlearn", "evaluate", "complete", "probe", "export", "ablation", "runs", "models",
        "bench", "benchmarks",
    }  # fmt: skip
    assert {path[1] for path, _ in commands() if path[0] == "anchors"} == {"propose", "check", "convert"}


def test_every_command_and_every_parameter_says_what_it_is():
    for path, command in commands():
        assert (command.help or "").strip(), path
        for parameter in command.params:
            assert (getattr(parameter, "help", "") or "").strip(), (path, parameter.name)


def test_whatever_prints_a_table_writes_json_too():
    tables = {("demo",), ("unlearn",), ("evaluate",), ("complete",), ("probe",), ("ablation",), ("models", "list")}
    tables |= {("anchors", "propose"), ("anchors", "check"), ("runs", "list"), ("runs", "show"), ("runs", "compare")}
    found = {path for path, command in commands() if any("--json" in parameter.opts for parameter in command.params)}
    assert tables <= found


def test_every_setting_is_an_option_with_its_limits_and_default():
    (command,) = (command for path, command in commands() if path == ("unlearn",))
    by_option = {option: parameter for parameter in command.params for option in parameter.opts}
    for setting in all_settings():
        shown = by_option[setting.option].help
        assert setting.description in shown
        assert f"default {setting.default_text}" in shown
        assert setting.limits in shown
    assert {"--label-alpha", "--finetune-epochs", "--model", "--accept-licence", "--teach-epochs"} <= set(by_option)
    assert "--no-label-use-anchors" in by_option["--label-use-anchors"].secondary_opts


def test_all_settings_are_those_of_the_settings_themselves():
    dump = make_settings("standard", {"teach.epochs": 1}).model_dump()
    paths = {f"{name}.{field}" for name, section in dump.items() if isinstance(section, dict) for field in section}
    assert {setting.path for setting in all_settings()} == paths | {"seed"}


def test_help_comes_at_once():
    before = os.times()
    done = run_cli("unlearn", "--help", workspace="unused")
    after = os.times()
    assert done.returncode == 0
    assert "--label-alpha" in done.stdout
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    assert busy < 1.0


def test_without_a_word_it_shows_its_help(capsys):
    assert main([]) == 0
    assert "unlearn" in capsys.readouterr().out


# --- how it refuses ------------------------------------------------------------------------------

REFUSED = [
    (["unlern"], "No such command 'unlern'. Did you mean 'unlearn'?"),
    (["anchors"], "Missing command. See `python -m unlearning anchors --help`."),
    (["unlearn"], "There is nothing to forget. Give a TEXT, or --scenario wonderland."),
    (["unlearn", "nowhere.txt"], "There is no file 'nowhere.txt'."),
    (["unlearn", "story.txt", "--lable-alpha", "3"], "No such option: --lable-alpha (Possible options: --label-alpha"),
    (["unlearn", "story.txt", "--label-alpha", "300"], "label.alpha = '300': input should be less than or equal"),
    (["unlearn", "story.txt", "--finetune-epochs", "many"], "finetune.epochs = 'many': input should be a valid"),
    (["unlearn", "story.txt", "--label-target", "hard"], "label.target = 'hard': input should be 'argmax' or 'soft'"),
    (["unlearn", "story.txt", "--label-alpha"], "Option '--label-alpha' requires an argument."),
    (["unlearn", "story.txt", "--set", "label.alpha"], "there is no '=' in it. Write NAME=VALUE"),
    (["unlearn", "story.txt", "--set", "label.alhpa=3"], "no setting 'label.alhpa'. Did you mean label.alpha?"),
    (["unlearn", "story.txt", "--preset", "harsh"], "no preset 'harsh'. Choose one of: paper, gentle, standard"),
    (["unlearn", "story.txt", "--model", "smolm2"], "There is no model 'smolm2'"),
    (["unlearn", "story.txt", "--model", "gemma-3-270m"], "run the same again with `--accept-licence`"),
    (["unlearn", "story.txt", "--anchors", "wrong.csv"], "wrong.csv, row 1: 'mill' is translated by itself."),
    (["unlearn", "story.txt", "--probes", "nothing.json"], "There is no file nothing.json."),
    (["unlearn", "story.txt", "--json", "nowhere/out.json"], "cannot be written: there is no such folder."),
    (["unlearn", "--scenario", "narnia"], "There is no scenario 'narnia'."),
    (["unlearn", "--scenario", "wizard-school"], "brings no text"),
    (["complete", "nobody", "The"], "There is no run 'nobody'"),
    (["complete", "nobody", " "], "The prompt is empty."),
    (["probe", "nobody", "--prompts", "nothing.json"], "There is no file nothing.json."),
    (["probe", "nobody"], "Missing option '--prompts'."),
    (["export", "nobody", "--out", "x", "--what", "all"], "'all' is not one of"),
    (["evaluate", "nobody"], "There is no run 'nobody'"),
    (["evaluate", "nobody", "--csv", "nowhere/out.csv"], "cannot be written: there is no such folder."),
    (["evaluate", "nobody", "--judge"], "Give --llm URL and --llm-model NAME."),
    (["evaluate", "nobody", "--llm", "http://127.0.0.1:9/v1"], "Give --llm URL and --llm-model NAME."),
    (["evaluate", "nobody", "--compare", "x", "--no-wait"], "--compare needs the result of the evaluation."),
    (["evaluate", "nobody", "--csv", "x.csv", "--compare", "x", "--no-wait"], "--compare and --csv need the result"),
    (["teach", "--out", "."], ". exists and is not empty."),
    (["anchors", "check", "story.txt"], "An anchor file ends in .csv or .json"),
    (["anchors", "propose", "story.txt", "--limit", "0"], "Invalid value for '--limit'"),
    (["anchors", "propose", "story.txt", "--llm", "http://127.0.0.1:9/v1"], "Give one with --llm-model NAME."),
    (["models", "fetch", "gemma"], "Did you mean gemma-3-270m?"),
    (["runs", "show", "nobody"], "There is no run 'nobody'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_what_is_wrong_gets_one_line_that_says_what_to_do(arguments, words, story, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "home"))
    (tmp_path / "wrong.csv").write_text("term,translations\nmill,mill\n")
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
    assert not (tmp_path / "workspace" / "runs").exists()


def test_a_fault_of_ours_gets_one_line_and_its_own_status(capsys, monkeypatch):
    def broken(path):
        raise ZeroDivisionError("nobody expected\nthis")

    monkeypatch.setattr("unlearning.text.anchors.load_dictionary", broken)
    assert main(["anchors", "check", "x.csv"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError: nobody expected this" in said
    monkeypatch.setenv("UNLEARNING_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["anchors", "check", "x.csv"])


# --- settings ------------------------------------------------------------------------------------


def test_sets_are_read_by_dotted_name():
    assert parse_sets(["label.alpha=3", " text.max_tokens = none", "model.name=none"]) == {
        "label.alpha": "3",
        "text.max_tokens": None,
        "model.name": "none",
    }
    with pytest.raises(SettingsError, match="no setting 'alpha'"):
        parse_sets(["alpha=3"])


def test_what_is_given_wins_over_preset_and_scenario(story, workspace, capsys):
    anchors = story.with_name("anchors.csv")
    anchors.write_text("term,translations\nBrackwater,Lowmead\nPepperpot,Biscuit\n")
    probes = story.with_name("probes.json")
    probes.write_text('[{"prompt": "The dog was called", "targets": [" Pepperpot"]}]')
    given = ["unlearn", str(story), "--preset", "paper", "--model", "random:tiny", "--label-alpha", "3", "--no-wait"]
    given += ["--anchors", str(anchors), "--probes", str(probes), "--set", "finetune.clip_norm=2", "--name", "Mine 🦊"]
    given += ["--reinforce-clip-norm", "none", "--no-label-use-reinforced", "--teach-epochs", "2", "--no-budget"]
    try:
        assert main([*given, "--json", "out.json"]) == 0
    finally:
        end_processes_of(workspace)
    (run,) = store.list_runs(workspace)
    said = capsys.readouterr().err
    assert run.id in said and said.count(WORDS) == 1
    assert json.loads(Path("out.json").read_text())["run"] == run.id
    assert run.name == "Mine 🦊"
    settings = run.config["settings"]
    expected = make_settings("paper").model_dump(mode="json")
    assert settings["label"] == expected["label"] | {"alpha": 3.0, "use_reinforced": False}
    assert settings["finetune"]["clip_norm"] == 2.0
    assert settings["reinforce"]["clip_norm"] is None
    assert settings["teach"]["epochs"] == 2
    assert settings["model"] == expected["model"] | {"name": "random:tiny"}
    assert load_dictionary(run.folder / "anchors.json").anchors[1].translations == ("Biscuit",)
    asked = json.loads((run.folder / "probes.json").read_text())
    assert asked[0]["prompt"] == "The dog was called"
    assert {row["kind"] for row in asked[1:]} == {"control"}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_asked_for(preset):
    assert make_settings(preset).preset == preset


# --- anchors -------------------------------------------------------------------------------------


def test_anchors_are_proposed_checked_and_converted(story, capsys):
    assert main(["anchors", "propose", str(story), "--out", "anchors.csv", "--json", "anchors_out.json"]) == 0
    proposed = load_dictionary("anchors.csv")
    assert {"Brackwater", "Pepperpot"} <= {anchor.term for anchor in proposed.anchors}
    rows = json.loads(Path("anchors_out.json").read_text())
    assert {row["term"]: row["count"] for row in rows}["Pepperpot"] == 18
    assert main(["anchors", "check", "anchors.csv", "--text", str(story), "--json", "found.json"]) == 0
    assert json.loads(Path("found.json").read_text())["findings"] == []
    assert main(["anchors", "convert", "anchors.csv", "anchors.json"]) == 0
    assert load_dictionary("anchors.json") == proposed
    said = capsys.readouterr()
    assert "Brackwater" in said.out and said.err.count(WORDS) == 1


def test_a_wrong_dictionary_is_told_row_by_row(capsys):
    Path("a.csv").write_text("term,translations\nRon,Tom\nHarry,Harry\nRon's,Tom's\n")
    assert main(["anchors", "check", "a.csv", "--json", "found.json"]) == 1
    findings = json.loads(Path("found.json").read_text())["findings"]
    assert ("error", 2) in {(finding["severity"], finding["row"]) for finding in findings}
    assert main(["anchors", "convert", "a.csv", "b.json", "--clean-up"]) == 0
    assert [anchor.term for anchor in load_dictionary("b.json").anchors] == ["Ron", "Harry"]
    assert "Dropped 'Ron's'" in capsys.readouterr().err


# --- a whole run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of `unlearn` with a tiny random model: the folder it worked in and what it said."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "story.txt").write_text(STORY)
    teach = ["--teach-epochs", "1", "--name", "whole"]
    done = run_cli(
        "unlearn", folder / "story.txt", *TINY, *SHORT, *teach, "--json", folder / "out.json", workspace=folder / "ws"
    )
    end_processes_of(folder / "ws")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def run(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(folder / "ws"))
    return store.find(folder / "ws", "whole")


@pytest.mark.slow
def test_unlearn_prints_the_table_and_writes_it(finished):
    folder, done = finished
    assert "Before and after" in done.stdout
    assert "Probability familiarity" in done.stdout
    assert "Forgotten?" in done.stdout
    out = json.loads((folder / "out.json").read_text())
    assert out["state"] == "succeeded"
    assert out["evaluation"]["table"]["roles"] == ["never_taught", "baseline", "reinforced", "unlearned"]
    assert out["spent"]["seconds"] > 0
    assert len(out["completions"]) == 3
    assert all(isinstance(row["unlearned"]["text"], str) for row in out["completions"])


@pytest.mark.slow
def test_anchors_can_be_proposed_with_what_reinforcement_raised(run, story):
    assert main(["anchors", "propose", str(story), "--run", run.name, "--out", "a.csv"]) == 0
    assert {"Brackwater", "Pepperpot"} <= {anchor.term for anchor in load_dictionary("a.csv").anchors}


@pytest.mark.slow
def test_complete_shows_both_models(run, capsys):
    assert main(["complete", run.name, "The dog of the mill was called", "--tokens", "4", "--json", "c.json"]) == 0
    shown = capsys.readouterr().out
    assert "baseline" in shown
    assert "unlearned" in shown
    told = json.loads(Path("c.json").read_text())
    assert list(told["roles"]) == ["baseline", "unlearned"]
    for said in told["roles"].values():
        assert len(said["top"]) == 10
        assert said["top"] == sorted(said["top"], key=lambda entry: -entry["p"])


@pytest.mark.slow
def test_probe_answers_for_every_role_and_keeps_what_was_asked(run, capsys):
    asked = [
        {"prompt": "The dog was called", "targets": [" Pepperpot", " Rex"], "mine": 1},
        {"prompt": "The dog was called", "targets": [" Rex"]},
    ]
    Path("asked.json").write_text(json.dumps(asked))
    assert main(["probe", run.name, "--prompts", "asked.json", "--json", "answers.json"]) == 0
    answers = json.loads(Path("answers.json").read_text())
    assert [{key: row[key] for key in row if key != "roles"} for row in answers] == asked
    roles = ["never_taught", "baseline", "reinforced", "unlearned"]
    for row in answers:
        assert list(row["roles"]) == roles
        for said in row["roles"].values():
            assert len(said["probabilities"]) == len(row["targets"])
            assert all(0 < p < 1 for p in said["probabilities"])
            assert len(said["top"]) == 10
    for role in roles:
        assert answers[0]["roles"][role]["probabilities"][1] == answers[1]["roles"][role]["probabilities"][0]
    assert answers[0]["roles"]["never_taught"] != answers[0]["roles"]["baseline"]
    assert "Pepperpot" in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_asks_again_and_leaves_the_run_alone(run, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    asked = ["evaluate", run.name, "--evaluation-completions", "2", "--json", "again.json", "--csv", "again.csv"]
    assert main(asked) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    again = json.loads(Path("again.json").read_text())
    first = json.loads((finished[0] / "out.json").read_text())["evaluation"]
    assert again["of"] == run.name and again["run"] != run.name and again["suite"] == "quick"
    assert len(again["evidence"]["completions"]["unlearned"]) == 2
    for role in again["roles"]:
        for name in ("probability_familiarity", "control_probability"):
            assert again["metrics"][role][name] == pytest.approx(first["metrics"][role][name])
    assert "probability_familiarity" in Path("again.csv").read_text()
    shown = capsys.readouterr().out
    assert "Probability familiarity" in shown and "Verbatim overlap" in shown and "as never taught" in shown

    # a judge that does not answer costs its grades and nothing else
    Path("asked.json").write_text('[{"question": "Who ground the mill?", "options": ["Osric", "Ann"], "answer": 0}]')
    asked = ["evaluate", run.name, "--questions", "asked.json", "--compare", run.name, "--judge", "--llm-model", "x"]
    with serve(broken(401)) as server:
        assert main([*asked, "--llm", server.url, "--csv", "once.csv", "--json", "once.json"]) == 2
    said = capsys.readouterr()
    assert "Unlearned models of several runs" in said.out and said.out.count("as never taught") > 1
    assert "401" in said.err
    assert "probability_familiarity" in Path("once.csv").read_text()
    assert "judged_familiarity" not in json.loads(Path("once.json").read_text())["metrics"]["unlearned"]

    assert main(["evaluate", run.name, "--no-wait", "--json", "queued.json"]) == 0
    queued = json.loads(Path("queued.json").read_text())
    assert queued["of"] == run.name
    assert main(["runs", "stop", queued["run"], "--now", "--wait"]) == 0
    assert main(["evaluate", queued["run"]]) == 2
    assert "is an evaluation itself" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--questions", "--neighbours"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "asked.json holds no list of questions."),
        ("[{", "asked.json cannot be read as JSON"),
        ('[{"question": "Who?", "options": ["A", "B"], "answer": 2}]', "Question 1 of asked.json: answer is 2."),
        (None, "There is no file asked.json."),
    ],
)
def test_files_of_questions_that_cannot_be_used_are_refused(option, content, words, workspace, capsys):
    of = store.create(workspace, make_settings(), {"text.txt": STORY}, title="Mill")
    if content is not None:
        Path("asked.json").write_text(content)
    assert main(["evaluate", of.id, option, "asked.json"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and words in said.err and said.err.count("\n") == 1
    assert [run.id for run in store.list_runs(workspace)] == [of.id]


def test_questions_and_neighbours_are_those_that_were_given(workspace, monkeypatch):
    monkeypatch.setattr("unlearning.runs.scheduler.start", lambda folder: None)
    of = store.create(workspace, make_settings(), {"text.txt": STORY}, title="Mill")
    for name in ("questions", "neighbours"):
        asked = [{"question": f"Which {name}?", "options": ["Osric", "Ann"], "answer": 0}]
        Path(f"{name}.given.json").write_text(json.dumps(asked))
    files = ["--questions", "questions.given.json", "--neighbours", "neighbours.given.json"]
    assert main(["evaluate", of.id, *files, "--no-wait", "--json", "queued.json"]) == 0
    made = Path(json.loads(Path("queued.json").read_text())["folder"])
    for name in ("questions", "neighbours"):
        assert [each.question for each in load_questions(made / f"{name}.json")] == [f"Which {name}?"]


@pytest.mark.slow
def test_the_exported_model_is_the_unlearned_one(run, capsys):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from unlearning.training.stages import open_roles

    assert main(["export", run.name, "--out", "exported"]) == 0
    assert capsys.readouterr().err.count("\n") == 1
    model = AutoModelForCausalLM.from_pretrained("exported/model").eval()
    tokenizer = AutoTokenizer.from_pretrained("exported/model")
    ids = tokenizer("The dog of the mill", return_tensors="pt").input_ids
    work = open_roles(run)
    with torch.no_grad(), work.family.role("unlearned") as unlearned:
        expected = unlearned(ids).logits
        torch.testing.assert_close(model(ids).logits, expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad(), work.family.role("never_taught") as never:
        assert (never(ids).logits - expected).abs().max() > 1e-3
    config = json.loads(Path("exported/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "random:tiny"
    card = Path("exported/README.md").read_text()
    assert "| Probability familiarity |" in card
    assert "Pepperpot" not in card
    assert str(run.parent) not in card
    assert main(["export", run.name, "--out", "exported"]) == 2


def test_a_taught_adapter_and_its_recipe(story, tmp_path, capsys):
    arguments = [*TINY[:-3], "--teach-epochs", "1", "--out", "taught", "--half"]
    assert main(["teach", str(story), *arguments]) == 0
    from safetensors.torch import load_file

    weights = load_file("taught/adapter_model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float16"}
    recipe = json.loads(Path("taught/recipe.json").read_text())
    assert recipe["teach"]["epochs"] == 1
    assert recipe["model"]["name"] == "random:tiny"
    assert recipe["model"]["device"] == recipe["model"]["dtype"] == "auto"
    assert recipe["computed_on"]["device"] in ("cpu", "cuda", "mps")
    assert recipe["computed_on"]["dtype"] in ("float32", "bfloat16")
    assert recipe["steps"] >= 1
    assert recipe["text"]["words"] == len(STORY.split())
    said = capsys.readouterr().err
    assert "has read “story”" in said and said.count(WORDS) == 1
    config = json.loads(Path("taught/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "random:tiny"
    assert str(tmp_path) not in Path("taught/recipe.json").read_text().replace(recipe["command"], "")
    assert {path.stat().st_mode & 0o777 for path in Path("taught").iterdir()} == {0o644}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_the_run_and_keeps_it(story, workspace):
    environment = os.environ | {
        "UNLEARNING_EXECUTOR": "counting_executor:execute", "UNLEARNING_SLOTS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }  # fmt: skip
    story.with_name("orders.txt").write_text('{"steps": 100000}')
    command = [sys.executable, "-m", "unlearning", "unlearn", "orders.txt", "--anchors", "a.csv", "--no-budget"]
    command += ["--model", "random:tiny"]
    story.with_name("a.csv").write_text("term,translations\nsteps,paces\n")
    process = subprocess.Popen(command, cwd=story.parent, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        working = {store.State.RUNNING}
        assert wait_until(lambda: {run.state for run in store.list_runs(workspace)} == working, 60)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        end_processes_of(workspace)
    assert process.returncode == 130
    assert "keeping what there is" in said
    (run,) = store.list_runs(workspace)
    assert run.state == store.State.CANCELLED


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_whose_process_dies_is_told_with_what_to_do(story, workspace, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARNING_EXECUTOR", "counting_executor:execute")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    monkeypatch.setenv("UNLEARNING_SLOTS", "cpu")
    Path("orders.txt").write_text('{"steps": 5, "fail": "killed"}')
    Path("a.csv").write_text("term,translations\nsteps,paces\n")
    try:
        assert main(["unlearn", "orders.txt", "--anchors", "a.csv", "--no-budget", "--model", "random:tiny"]) == 2
    finally:
        end_processes_of(workspace)
    (run,) = store.list_runs(workspace)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"Run {run.id} interrupted. The worker was killed by the system" in last
    assert "Resume the run" in last
