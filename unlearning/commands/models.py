"""`models`: what can be fetched by name, and fetching it."""

from __future__ import annotations

from typing import Annotated

import typer

from unlearning.commands.output import JsonOption, check_writable, print_table, report, say, write_json

app = typer.Typer(help="The models that can be fetched by name.")


@app.command("list")
def list_models(json_file: JsonOption = None) -> None:
    """Names, licences and sizes, and what is on this machine already."""
    from unlearning.models.catalogue import CATALOGUE, home, is_whole

    check_writable(json_file)
    columns = ("name", "title", "licence", "parameters", "download MB", "disk MB", "here", "knows")
    rows = []
    for entry in CATALOGUE.values():
        here = is_whole(home() / "models" / entry.name, entry)
        sizes = (f"{entry.parameters:,}", entry.download_mb, entry.disk_mb)
        rows.append((entry.name, entry.title, entry.licence, *sizes, here, entry.knows))
    print_table("Models fetched by name", columns, rows, "Also: a local folder, or a Hugging Face id (owner/name).")
    write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows])


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `models list`.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept its licence, if it asks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing if it is here already.")] = False,
) -> None:
    """Download a model of the catalogue, check it, convert it once and keep it."""
    from unlearning.models.catalogue import fetch as fetch_model

    folder = fetch_model(name, accept_licence, report)
    if not quiet:
        say(f"{name} is in {folder}.")
