"""`anchors`: dictionaries of a text's own expressions, each with what may stand in its place."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from unlearning.commands.look import open_run
from unlearning.commands.output import (
    JsonOption,
    check_writable,
    print_table,
    say,
    say_words,
    step_bar,
    working,
    write_json,
)
from unlearning.errors import SettingsError

app = typer.Typer(help="Dictionaries of a text's own expressions (anchors), each with generic translations.")

Texts = Annotated[list[Path], typer.Argument(metavar="TEXT", help="txt, md, html, epub, pdf or docx files.")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it, .csv or .json.")]


@app.command()
def propose(
    text: Texts,
    out: Out = Path("anchors.csv"),
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=5000, metavar="N", help="Most anchors, without a language model.")
    ] = 80,
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Prefer what this run's reinforced model finds likelier.")
    ] = "",
    llm: Annotated[
        str, typer.Option("--llm", metavar="URL", help="Ask a language model at this OpenAI-compatible address.")
    ] = "",
    llm_model: Annotated[str, typer.Option("--llm-model", metavar="NAME", help="The name of that model there.")] = "",
    llm_timeout: Annotated[
        float, typer.Option("--llm-timeout", min=1, metavar="SECONDS", help="Longest wait for one answer.")
    ] = 120.0,
    json_file: JsonOption = None,
) -> None:
    """Propose anchors for a text, from the text alone or with a language model's help.

    A key for the language model is read from the environment variable UNLEARNING_API_KEY.
    """
    from unlearning.text.anchor_checks import count_occurrences
    from unlearning.text.anchors import save_dictionary
    from unlearning.text.documents import read_documents
    from unlearning.text.proposals import propose_offline

    check_writable(json_file)
    document = read_documents(text)
    if llm and not llm_model:
        raise SettingsError("--llm needs the name of a model there.", "Give one with --llm-model NAME.")
    say_words(document.title, document)
    if llm:
        from unlearning.endpoint import Endpoint
        from unlearning.text.proposals_llm import propose_with_llm

        with step_bar() as report:
            dictionary = propose_with_llm(document.text, Endpoint(llm, llm_model, timeout=llm_timeout), report=report)
    else:
        dictionary = propose_offline(document.text, limit=limit, scores=_rises(run) if run else None)
    save_dictionary(dictionary, out)
    counts = count_occurrences(document.text, dictionary)
    rows = [(a.term, " | ".join(a.translations), a.kind, n) for a, n in zip(dictionary.anchors, counts, strict=True)]
    print_table(f"Anchors of {document.title}", ("term", "translations", "kind", "in the text"), rows)
    say(f"{len(rows)} anchors written to {out}. Read them, and mend what does not fit.")
    write_json(json_file, [asdict(a) | {"count": n} for a, n in zip(dictionary.anchors, counts, strict=True)])


def _rises(reference: str) -> dict[str, float]:
    """How much likelier each word of a run's blocks became by reinforcement."""
    with working("Loading the models …") as report:
        from unlearning.evaluation.rises import word_rises

        work = open_run(reference, report)
        family, blocks = work.family, [block.text for block in work.blocks[0]]
        report("note", message="Reading the text with the baseline and the reinforced model …")
        return word_rises(
            blocks, family.tokenizer, partial(family.role, "baseline"), partial(family.role, "reinforced")
        )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An anchor dictionary, .csv or .json.")],
    text: Annotated[
        list[Path] | None, typer.Option("--text", metavar="TEXT", help="The text it is for, to count in. Repeatable.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Say what is wrong in a dictionary, row by row. Exit status 1 if there is an error."""
    from unlearning.text.anchor_checks import check_dictionary, count_occurrences
    from unlearning.text.anchors import load_dictionary
    from unlearning.text.documents import read_documents

    check_writable(json_file)
    dictionary = load_dictionary(file)
    content = read_documents(text).text if text else None
    findings = check_dictionary(dictionary, content)
    rows = [(f.row, f.field, f.severity, f.message, f.hint) for f in findings]
    if rows:
        print_table(f"Remarks on {file.name}", ("row", "field", "", "what", "what to do"), rows)
    errors = sum(finding.severity == "error" for finding in findings)
    say(f"{len(dictionary.anchors)} anchors: {errors} errors, {len(findings) - errors} warnings.")
    counts = count_occurrences(content, dictionary) if content is not None else []
    if counts:
        say(f"They stand in the text {sum(counts):,} times.")
    write_json(json_file, {"findings": [asdict(finding) for finding in findings], "counts": counts})
    if errors:
        raise typer.Exit(1)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An anchor dictionary, .csv or .json.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it, .csv or .json.")],
    clean_up: Annotated[
        bool, typer.Option("--clean-up", help='Drop what the paper drops: "X\'s" of a term X, and compounds of terms.')
    ] = False,
) -> None:
    """Write a dictionary in the other format, lossless."""
    from unlearning.text.anchor_checks import clean_up as drop
    from unlearning.text.anchors import load_dictionary, save_dictionary

    dictionary = load_dictionary(file)
    if clean_up:
        dictionary, dropped = drop(dictionary)
        for line in dropped:
            say(line)
    save_dictionary(dictionary, out)
    say(f"{len(dictionary.anchors)} anchors written to {out}.")
