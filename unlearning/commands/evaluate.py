"""`evaluate`: what a run's models still know, what broke, and whether it can be brought back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearning.commands.llm import LlmModelOption, LlmPromptsOption, endpoint_of
from unlearning.commands.outcome import run_to_end, show_evaluation
from unlearning.commands.output import JsonOption, check_writable, console, print_table, say, step_bar, write_json
from unlearning.commands.settings import with_settings
from unlearning.errors import EndpointError, SettingsError
from unlearning.runs.budget import gigabytes

if TYPE_CHECKING:
    from unlearning.config import EvaluationSettings
    from unlearning.endpoint import Endpoint

ROLES = ("never_taught", "baseline", "unlearned")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name.")]


@with_settings("evaluation")
def evaluate(
    run: RunArgument,
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME", help="quick (about a minute) or full (with all attacks, minutes).")
    ] = "quick",
    compare: Annotated[
        list[str] | None,
        typer.Option("--compare", metavar="RUN", help="Show this run's newest evaluation beside it. Repeatable."),
    ] = None,
    other: Annotated[
        str, typer.Option("--other", metavar="MODEL", help="A further model of the same family: a name or a folder.")
    ] = "",
    probes: Annotated[
        Path | None, typer.Option("--probes", metavar="FILE", help="Prompts with target words, not the run's own.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions", metavar="FILE", help="Multiple-choice questions, not the scenario's: .json, see the README."
        ),
    ] = None,
    neighbours: Annotated[
        Path | None,
        typer.Option(
            "--neighbours",
            metavar="FILE",
            help="Questions on what lies next to the text and should stay known: .json as of --questions.",
        ),
    ] = None,
    llm: Annotated[
        str,
        typer.Option("--llm", metavar="URL", help="Have a language model there write questions, if there are none."),
    ] = "",
    llm_model: LlmModelOption = "",
    llm_prompts: LlmPromptsOption = False,
    judge: Annotated[
        bool, typer.Option("--judge", help="Have that language model grade the completions too (0 to 3).")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or queue it and return.")
    ] = True,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write every figure of every model as CSV.")
    ] = None,
    json_file: JsonOption = None,
    *,
    changes: dict[str, Any],
) -> None:
    """Ask a run's models what they still know, what broke, and whether attacks bring it back. The run stays as it is.

    An evaluation is a run of its own: Ctrl-C stops it, `runs resume` goes on with the parts that are left.
    """
    from unlearning.evaluation import suites
    from unlearning.runs import scheduler
    from unlearning.runs.store import find, workspace_folder

    check_writable(json_file)
    check_writable(csv_file)
    if judge or llm or llm_model or llm_prompts:
        endpoint_of(llm, llm_model)
    if not wait:
        _check_needs_no_end({"--judge": judge, "--compare": compare, "--csv": csv_file})
    workspace = workspace_folder()
    of = find(workspace, run)
    suites.effort(suite)
    others = {name: _evaluated(workspace, name) for name in compare or ()}
    inputs = _inputs(of, probes, questions, neighbours, llm, llm_model)
    evaluation = _settings(of, changes)
    if llm_prompts:
        inputs = _written(of, endpoint_of(llm, llm_model), evaluation) | inputs
    expected = suites.expected_seconds(of, suite)
    made = suites.create_evaluation(workspace, of, suite, inputs=inputs, evaluation=evaluation, other=_model(other))
    if expected:
        say(f"Expected to take about {expected:.0f} seconds.")
    if not wait:
        scheduler.start(made.folder)
        say(f"Evaluation {made.id} is queued; `python -m unlearning runs follow {made.id}` watches it.")
        write_json(json_file, {"run": made.id, "of": of.name, "folder": made.folder})
        return
    spent = run_to_end(made)["spent"]
    found = suites.read_result(made.folder)
    failure: EndpointError | None = None
    if judge:
        try:
            found = _judged(made.folder, found, llm, llm_model)
        except EndpointError as error:
            failure = error  # told when all that there is has been shown and written
    _show(found, made.id, spent)
    if others:
        _show_beside(of.name, found, others)
    _write_csv(csv_file, found)
    write_json(json_file, found | {"run": made.id, "spent": spent})
    if failure:
        raise failure


def _check_needs_no_end(given: Mapping[str, Any]) -> None:
    """Refuse options that are about the result, where nobody waits for it."""
    if asked := [name for name, value in given.items() if value]:
        verb = "needs" if len(asked) == 1 else "need"
        raise SettingsError(f"{' and '.join(asked)} {verb} the result of the evaluation.", "Leave out --no-wait.")


def _inputs(
    of: Path, probes: Path | None, questions: Path | None, neighbours: Path | None, llm: str, llm_model: str
) -> dict[str, Any]:
    """What is asked instead of the run's own prompts and the scenario's questions."""
    from unlearning.evaluation.questions import dump_questions, load_questions
    from unlearning.evaluation.suites import NEIGHBOURS, QUESTIONS, questions_of
    from unlearning.text.prompts import load_probes

    inputs: dict[str, Any] = {}
    if probes:
        load_probes(probes)
        inputs["probes.json"] = probes
    if neighbours:
        inputs[NEIGHBOURS] = dump_questions(load_questions(neighbours))
    if questions:
        inputs[QUESTIONS] = dump_questions(load_questions(questions))
    elif llm and QUESTIONS not in questions_of(of):
        from unlearning.evaluation.questions_made import make_questions

        with step_bar() as report:
            text = (of / "text.txt").read_text(encoding="utf-8")
            inputs[QUESTIONS] = dump_questions(make_questions(text, endpoint_of(llm, llm_model), report=report))
    return inputs


def _written(of: Path, endpoint: Endpoint, evaluation: EvaluationSettings | None) -> dict[str, Any]:
    """Prompts to complete and probes by a language model, in place of the run's; its controls stay."""
    from unlearning.evaluation.prompts_made import make_prompts
    from unlearning.runs.record import read_settings
    from unlearning.text.anchors import load_dictionary
    from unlearning.text.prompts import completion_rows, load_completions, load_probes, probe_rows

    text, dictionary = (of / "text.txt").read_text(encoding="utf-8"), load_dictionary(of / "anchors.json")
    count = (evaluation or read_settings(of).evaluation).completions
    with step_bar() as report:
        completions, probes = make_prompts(text, dictionary, endpoint, max(1, count), report=report)
    written = {}
    if probes:
        kept = load_probes(of / "probes.json") if (of / "probes.json").is_file() else []
        written["probes.json"] = probe_rows([*probes, *(each for each in kept if each.kind == "control")])
    if completions:
        old = load_completions(of / "completions.json") if (of / "completions.json").is_file() else []
        written["completions.json"] = completion_rows([*completions, *(each for each in old if each.kind == "control")])
    return {file: json.dumps(rows, ensure_ascii=False) for file, rows in written.items()}


def _model(name: str) -> str:
    """The name of a further model, a folder by its whole path, for the worker has another current folder."""
    if not name:
        return ""
    from unlearning.models.loading import kind_of

    return str(Path(name).resolve()) if kind_of(name) == "folder" else name


def _settings(of: Path, changes: Mapping[str, Any]) -> EvaluationSettings | None:
    if not changes:
        return None
    from unlearning.config import make_settings
    from unlearning.runs.record import read_settings

    own = read_settings(of)
    return make_settings(own.preset, own.model_dump() | dict(changes)).evaluation


def _evaluated(workspace: Path, name: str) -> dict[str, Any]:
    """The newest evaluation of another run.

    Raises:
        SettingsError: it has none.
    """
    from unlearning.evaluation.suites import newest_result
    from unlearning.runs.store import find

    other = find(workspace, name)
    found = newest_result(workspace, other.name)
    if not found:
        hint = f"Evaluate it first: `python -m unlearning evaluate {other.name}`."
        raise SettingsError(f"Run {other.name} has not been evaluated.", hint)
    return found


def _judged(folder: Path, found: dict[str, Any], llm: str, llm_model: str) -> dict[str, Any]:
    """The result with a language model's grades, written back to the evaluation."""
    from unlearning.evaluation.judging import add_judgements
    from unlearning.evaluation.suites import RESULT
    from unlearning.runs import durable
    from unlearning.text.anchors import load_dictionary

    names = [anchor.term for anchor in load_dictionary(folder / "anchors.json").enabled()]
    title = str(durable.read_json(folder / "config.json")["text"].get("title", ""))
    with step_bar() as report:
        found = add_judgements(found, endpoint_of(llm, llm_model), title, names, report)
    durable.write_json(folder / RESULT, found)
    return found


def _show(found: Mapping[str, Any], evaluation: str, spent: Mapping[str, Any]) -> None:
    show_evaluation(found)
    rows = [
        (attack["title"], *(_value(attack, role) for role in ROLES), attack.get("text", ""))
        for attack in found.get("attacks") or []
    ]
    if rows:
        print_table("Attacks", ("", *(role.replace("_", " ") for role in ROLES), "what it shows"), rows)
    seconds, memory = spent["seconds"], gigabytes(spent["peak_bytes"])
    say(f"{seconds:.0f} seconds, at most {memory} of memory. Evaluation {evaluation}.")


def _value(attack: Mapping[str, Any], role: str) -> float | None:
    return (attack.get("values", {}).get(role) or {}).get("value")


def _show_beside(run: str, found: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> None:
    """Several runs' unlearned models in one table, and their verdicts."""
    from unlearning.evaluation.report import compare_table, rich_table

    results = {run: found} | dict(others)
    before = {role: found["metrics"][role] for role in ROLES[:2] if role in found["metrics"]}
    after = {name: each["metrics"]["unlearned"] for name, each in results.items() if "unlearned" in each["metrics"]}
    console().print(rich_table(compare_table(before | after), "Unlearned models of several runs", with_perfect=True))
    questions = ("forgotten", "intact")
    rows = [(name, *(each["verdicts"][question]["answer"] for question in questions)) for name, each in results.items()]
    print_table("Verdicts", ("run", *questions), rows)


def _write_csv(path: Path | None, found: Mapping[str, Any]) -> None:
    if path is None:
        return
    from unlearning.ui.probing_files import make_file

    path.write_text(make_file(found, "figures")[1], encoding="utf-8")
