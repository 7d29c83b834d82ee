"""The tables of the README that are made from the program: `python -m unlearning.commands.readme` writes them anew.

They stand between `<!-- NAME: begin -->` and `<!-- NAME: end -->`; a test keeps them equal to what is made here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from unlearning.commands.settings import settings_table

README = Path(__file__).resolve().parents[2] / "README.md"


def commands_table() -> str:
    """Every command with the first sentence of its help."""
    from unlearning.cli import app

    rows = [f"| `{' '.join(path)}` | {_first_sentence(command.help)} |" for path, command in _commands(app)]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def metrics_table() -> str:
    """Every figure, how it is computed and how to read it."""
    from unlearning.evaluation.metrics_table import METRICS

    rows = [f"| {m.title} | {_cell(m.formula)} | {_cell(m.reading)} | {_cell(m.source)} |" for m in METRICS.values()]
    return "\n".join(["| figure | how it is computed | how to read it | source |", "|---|---|---|---|", *rows])


def attacks_table() -> str:
    """Every attack, what it does, its figure and how to read it; and the rules by which verdicts are given."""
    from unlearning.evaluation.attack_results import ALIKE, RULE
    from unlearning.evaluation.attacks import ATTACKS
    from unlearning.evaluation.verdicts import RULES

    rows = [
        f"| {a.title} | {_cell(a.what)} | {_cell(a.formula)} | {_cell(a.reading)} | {_cell(a.source)} "
        f"| {', '.join(a.suites)} |"
        for a in ATTACKS.values()
    ]
    head = ["| attack | what it does | its figure | how to read it | source | in suite |", "|---|---|---|---|---|---|"]
    rules = {"Does an attack bring it back?": f"{RULE} {ALIKE}"} | RULES
    return "\n".join([*head, *rows, *(f"\n**{question}** {rule}" for question, rule in rules.items())])


def agreement_table() -> str:
    """How far the offline grader agrees with grades given by hand."""
    from unlearning.evaluation.agreement import agreement_rows

    rows = [
        f"| {title} | {found.count} | {found.accuracy:.0%} | {found.kappa:.2f} | {found.within_one:.0%} "
        f"| {hand:.2f} | {offline:.2f} |"
        for title, found, hand, offline in agreement_rows()
    ]
    head = "| completions | how many | same grade | Cohen's κ | within one grade | score by hand | score offline |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def speed_table() -> str:
    """What the benchmark found, from the results that are kept."""
    from unlearning.bench.tables import performance_table

    return performance_table()


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands_table, "settings": settings_table, "metrics": metrics_table, "speed": speed_table,
    "attacks": attacks_table, "agreement": agreement_table,
}  # fmt: skip


def updated(text: str) -> str:
    """The README with its tables as the program makes them now."""
    for name, make in TABLES.items():
        head, begin, rest = text.partition(f"<!-- {name}: begin")
        mark, _, rest = rest.partition("\n")
        _, end, tail = rest.partition(f"<!-- {name}: end -->")
        if begin and end:
            text = f"{head}{begin}{mark}\n{make()}\n{end}{tail}"
    return text


def _commands(app: typer.Typer) -> Iterator[tuple[tuple[str, ...], Any]]:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield (name,), command
        else:
            yield from (((name, sub), each) for sub, each in inner.items())


def _first_sentence(words: str) -> str:
    return _cell(re.split(r"(?<=[.!?])\s", words.strip(), maxsplit=1)[0])


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
