"""The command line: `python -m unlearning COMMAND`. What a person gets wrong is answered in one line.

demo        the shipped scenario from beginning to end, in minutes
teach       fine-tune a model on a text, so that it has something to forget
anchors     propose, check and convert dictionaries of a text's own expressions
unlearn     make a model forget a text: a new run, followed to its end
evaluate    what a run's models still know, what broke, and whether it comes back
benchmarks  the standard tests of general ability, before and after
bench       how fast each stage is on this machine
complete    what the models of a run say next, side by side
probe       how likely they find given words
export      an unlearned model to use elsewhere
ablation    the paper's ablation: reinforcement only, anchors only, both
runs        list, follow, stop, resume … runs
models      the models that can be fetched by name
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import typer

from unlearning.commands import anchors, models
from unlearning.commands.bench import bench
from unlearning.commands.benchmarks import benchmarks
from unlearning.commands.evaluate import evaluate
from unlearning.commands.export import export
from unlearning.commands.look import complete, probe
from unlearning.commands.teach import teach
from unlearning.commands.unlearn import ablation, demo, unlearn
from unlearning.errors import UnlearningError
from unlearning.runs_cli import runs_app

PROGRAM = "python -m unlearning"
WRONG, UNEXPECTED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    help="Make a language model forget a text. Begin with `demo`, or with `unlearn BOOK.epub`.",
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(demo)
app.command()(teach)
app.add_typer(anchors.app, name="anchors")
app.command()(unlearn)
app.command()(evaluate)
app.command()(benchmarks)
app.command()(bench)
app.command()(complete)
app.command()(probe)
app.command()(export)
app.command()(ablation)
app.add_typer(runs_app, name="runs")
app.add_typer(models.app, name="models")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 2 refused (one line says why), 1 a fault of ours."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if not os.environ.get("UNLEARNING_DEBUG"):
        warnings.simplefilter("ignore")  # what libraries tell each other's authors is nothing to a user
    try:
        return app(args=arguments, prog_name=PROGRAM, standalone_mode=False) or 0
    except typer.TyperException as error:
        return _refused(_usage(error))
    except UnlearningError as error:
        return _refused(str(error))
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("UNLEARNING_DEBUG"):
            raise
        _refused(f"This should not have happened: {_one_line(f'{type(error).__name__}: {error}')} "
                 "Set UNLEARNING_DEBUG=1 to see where, and tell us.")  # fmt: skip
        return UNEXPECTED


def _usage(error: typer.TyperException) -> str:
    """A wrong option or argument, and where to read about the right ones; empty where the help was shown already."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else PROGRAM
    message = _one_line(error.format_message())
    return f"{message.removesuffix('.')}. See `{command} --help`." if message else ""


def _refused(line: str) -> int:
    if line:
        print(_one_line(line), file=sys.stderr)
    return WRONG


def _one_line(words: str) -> str:
    return " ".join(words.split())
