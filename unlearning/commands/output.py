"""What commands print: tables, JSON files, what is happening. Text of users and models is never read as markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearning.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from unlearning.text.documents import Document

TOLD = {"loss": "loss {:.3f}", "seconds_left": "{:.0f} s left"}  # what a bar says of a step
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write what the table shows, and more, as JSON.")
]


def console() -> Console:
    """Standard output. Where it is no terminal, lines are not cut at 80 characters."""
    from rich.console import Console

    plain = Console(highlight=False, soft_wrap=False)
    return plain if plain.is_terminal else Console(highlight=False, width=max(plain.width, 160))


def say(message: str) -> None:
    """One line on standard error, so that standard output holds results alone."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)


def say_words(title: str, document: Document) -> None:
    """How long a text is that was read."""
    say(f"“{title}” has {document.words:,} words.")


def report(kind: str, **fields: Any) -> None:
    """A reporter for work done in this process: notes and warnings become lines."""
    if kind in ("note", "warning"):
        say(str(fields.get("message", "")))


@contextmanager
def working(words: str) -> Iterator[Callable[..., None]]:
    """A line that moves while something takes long; gives a reporter whose notes it shows. Gone at the end."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(words)) as status:
        yield lambda kind, **fields: status.update(Text(str(fields["message"]))) if kind == "note" else None


@contextmanager
def step_bar() -> Iterator[Callable[..., None]]:
    """A bar for what is done step by step in this process; gives the reporter that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*parts, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None, told="", visible=False)

        def show(kind: str, **fields: Any) -> None:
            if kind == "step":
                known = [name for name in TOLD if fields.get(name) is not None]
                told = ", ".join(TOLD[name].format(fields[name]) for name in known)
                step, steps, stage = fields["step"], fields["steps"], fields["stage"]
                bars.update(task, description=stage, completed=step, total=steps, told=told, visible=True)
            elif kind in ("note", "warning"):
                bars.console.print(str(fields["message"]), markup=False, highlight=False, soft_wrap=True)

        yield show


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> None:
    """A table; a column whose every cell is a number or empty is set flush right."""
    from rich.table import Table
    from rich.text import Text

    cells = [[_cell(value) for value in row] for row in rows]
    table = Table(title=Text(title), title_justify="left", header_style="bold", caption=Text(note) if note else None)
    table.caption_justify = "left"
    for place, column in enumerate(columns):
        numbers = all(_is_number(row[place]) for row in cells)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console().print(table)


def write_json(path: Path | None, data: Any) -> None:
    """Write `data` where a `--json` option asks for it; nothing where none was given.

    Raises:
        SettingsError: it cannot be written there.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", "Give another file to --json.") from None


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before minutes of work are spent on what belongs in it.

    Raises:
        SettingsError: its folder does not exist, or it is a folder itself.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise SettingsError(f"{path} cannot be written: there is no such folder.", "Give another file to --json.")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(cell: str) -> bool:
    return not cell.strip("0123456789.,-–+%×e ")
