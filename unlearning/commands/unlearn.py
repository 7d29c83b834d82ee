"""`unlearn`, `demo` and `ablation`: new runs, followed to their end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearning.commands.llm import LlmModelOption, LlmPromptsOption, endpoint_of
from unlearning.commands.outcome import fetch_model, new_run, run_to_end, show_outcome
from unlearning.commands.output import JsonOption, check_writable, console, say, say_words, step_bar, write_json
from unlearning.commands.processes import ProcessesOption, ShardOption, asked_for
from unlearning.commands.settings import with_settings
from unlearning.errors import AnchorError, InputError, SettingsError

if TYPE_CHECKING:
    from unlearning.endpoint import Endpoint
    from unlearning.text.anchors import Dictionary
    from unlearning.text.prompts import CompletionPrompt, Probe

ABLATION: dict[str, dict[str, Any]] = {
    "reinforcement only": {"label.use_anchors": False},
    "anchors only": {"label.use_reinforced": False},
    "both": {},
}
PresetOption = Annotated[
    str, typer.Option("--preset", metavar="NAME", help="The settings to start from: paper, gentle, standard, thorough.")
]
BudgetOption = Annotated[
    bool, typer.Option("--budget/--no-budget", help="Measure this machine first, to say how long it will take.")
]
ScenarioOption = Annotated[
    str, typer.Option("--scenario", metavar="NAME", help="A shipped scenario: wonderland or wizard-school.")
]


@with_settings()
def unlearn(
    text: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TEXT", help="What to forget: txt, md, html, epub, pdf, docx. Several are joined."),
    ] = None,
    scenario: ScenarioOption = "",
    anchors: Annotated[
        Path | None,
        typer.Option("--anchors", metavar="FILE", help="Dictionary, .csv or .json. Without: proposed from the text."),
    ] = None,
    probes: Annotated[
        Path | None,
        typer.Option("--probes", metavar="FILE", help="Prompts with target words, .json. Without: made from the text."),
    ] = None,
    llm: Annotated[
        str, typer.Option("--llm", metavar="URL", help="OpenAI-compatible address of a language model to be asked.")
    ] = "",
    llm_model: LlmModelOption = "",
    llm_prompts: LlmPromptsOption = False,
    preset: PresetOption = "standard",
    teach: Annotated[
        bool | None,
        typer.Option("--teach/--no-teach", help="Teach the model the text first. Default: where a scenario needs it."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the run to its end, or queue it and return.")
    ] = True,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make the run, for torchrun or Slurm to start (see the README).")
    ] = False,
    processes: ProcessesOption = 1,
    shard: ShardOption = False,
    budget: BudgetOption = True,
    json_file: JsonOption = None,
    *,
    changes: dict[str, Any],
) -> None:
    """Make a model forget a text: reinforce, label, fine-tune, measure. Ctrl-C stops the run and keeps what it has.

    The run goes on when this window is closed: `python -m unlearning runs follow` finds it again. A key for the
    language model is read from the environment variable UNLEARNING_API_KEY.
    """
    from unlearning.models.catalogue import CATALOGUE
    from unlearning.runs import scheduler
    from unlearning.scenarios import inputs_of, inputs_of_text, load_scenario, propose, settings_for
    from unlearning.text.anchors import Dictionary
    from unlearning.text.documents import read_documents
    from unlearning.text.prompts import load_probes

    check_writable(json_file)
    together = asked_for(processes, shard)
    if not text and not scenario:
        raise InputError("There is nothing to forget.", "Give a TEXT, or --scenario wonderland.")
    if (llm or llm_model) and not llm_prompts:
        raise SettingsError("Nothing is asked of the language model.", "Add --llm-prompts, or leave out --llm.")
    endpoint = endpoint_of(llm, llm_model) if llm_prompts else None
    chosen = load_scenario(scenario) if scenario else None
    settings = settings_for(chosen, preset, changes, teach, own_text=bool(text))
    dictionary = _checked(anchors) if anchors else None
    own_probes = load_probes(probes) if probes else []
    document = chosen.document() if chosen and not text else read_documents(text or [])
    title = chosen.title if chosen and not text else document.title
    if chosen is None and dictionary is None:
        dictionary = propose(document)
    fetch_model(settings)
    say_words(title, document)
    completions: list[CompletionPrompt] = []
    if endpoint:
        known = dictionary or (chosen.dictionary() if chosen else Dictionary(()))
        completions, written = _written(document.text, known, endpoint, settings.evaluation.completions)
        own_probes = own_probes or written
    if chosen and not text:
        inputs = inputs_of(chosen, settings, dictionary, own_probes, completions)
    else:
        inputs = inputs_of_text(document, dictionary, scenario=chosen, probes=own_probes, completions=completions)
    if dictionary and not anchors:
        say(f"{len(dictionary.anchors)} anchors proposed from the text (`anchors propose` shows them first).")
    if text and settings.teach is None and (entry := CATALOGUE.get(settings.model.name)):
        say(f"{entry.title} knows: {entry.knows}")
    run = new_run(settings, inputs, name, title, scenario, budget)
    together(run.folder)
    if prepare:
        say(f"Run {run.id} is prepared: {run.folder}")
        write_json(json_file, {"run": run.id, "folder": run.folder})
        return
    if wait:
        show_outcome(run, run_to_end(run), json_file)
        return
    scheduler.start(run.folder)
    say(f"Run {run.id} is queued; `python -m unlearning runs follow {run.id}` watches it.")
    write_json(json_file, {"run": run.id, "folder": run.folder})


@with_settings()
def demo(
    preset: PresetOption = "standard",
    processes: ProcessesOption = 1,
    shard: ShardOption = False,
    budget: BudgetOption = True,
    json_file: JsonOption = None,
    *,
    changes: dict[str, Any],
) -> None:
    """The shipped scenario from beginning to end: a small model that knows Alice in Wonderland forgets it."""
    from unlearning.scenarios import DEFAULT, inputs_of, load_scenario, settings_for

    check_writable(json_file)
    together = asked_for(processes, shard)
    scenario = load_scenario(DEFAULT)
    settings = settings_for(scenario, preset, changes)
    say(scenario.description)
    fetch_model(settings)
    run = new_run(settings, inputs_of(scenario, settings), "Demo", scenario.title, scenario.name, budget)
    together(run.folder)
    show_outcome(run, run_to_end(run), json_file)


@with_settings()
def ablation(
    scenario: ScenarioOption = "wonderland",
    preset: PresetOption = "standard",
    budget: BudgetOption = True,
    json_file: JsonOption = None,
    *,
    changes: dict[str, Any],
) -> None:
    """The paper's ablation on a scenario: reinforcement only, anchors only, both. Three runs, one table."""
    from unlearning.evaluation.report import compare_table, rich_table
    from unlearning.scenarios import inputs_of, load_scenario, settings_for

    check_writable(json_file)
    chosen = load_scenario(scenario)
    results: dict[str, Any] = {}
    for name, change in ABLATION.items():
        settings = settings_for(chosen, preset, changes | change)
        fetch_model(settings)
        run = new_run(settings, inputs_of(chosen, settings), f"Ablation: {name}", chosen.title, scenario, budget)
        results[name] = run_to_end(run) | {"run": run.id}
    metrics = {name: result["evaluation"]["metrics"] for name, result in results.items()}
    before = {role: figures for role, figures in metrics["both"].items() if role in ("never_taught", "baseline")}
    table = compare_table(before | {name: figures["unlearned"] for name, figures in metrics.items()})
    console().print(rich_table(table, "Ablation"))
    write_json(json_file, {"table": table, "runs": results})


def _written(
    text: str, dictionary: Dictionary, endpoint: Endpoint, count: int
) -> tuple[list[CompletionPrompt], list[Probe]]:
    """Prompts to complete and probes by a language model, with a bar while it writes."""
    from unlearning.evaluation.prompts_made import make_prompts

    with step_bar() as report:
        completions, probes = make_prompts(text, dictionary, endpoint, max(1, count), report=report)
    say(f"The language model wrote {len(completions)} prompts to complete and {len(probes)} probes.")
    return completions, probes


def _checked(path: Path) -> Dictionary:
    """The dictionary in a file, refused where it has an error."""
    from unlearning.text.anchor_checks import check_dictionary
    from unlearning.text.anchors import load_dictionary

    dictionary = load_dictionary(path)
    errors = [finding for finding in check_dictionary(dictionary) if finding.severity == "error"]
    if errors:
        more = f" (And {len(errors) - 1} more: `python -m unlearning anchors check {path}`.)" if errors[1:] else ""
        raise AnchorError(f"{path.name}, row {errors[0].row}: {errors[0].message}", errors[0].hint + more)
    return dictionary
