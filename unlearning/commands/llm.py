"""The options of commands that ask a language model behind an address, and who that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from unlearning.errors import SettingsError

if TYPE_CHECKING:
    from unlearning.endpoint import Endpoint

LlmModelOption = Annotated[str, typer.Option("--llm-model", metavar="NAME", help="The name of that model there.")]
LlmPromptsOption = Annotated[
    bool,
    typer.Option(
        "--llm-prompts", help="Have that language model write the prompts to complete, and the probes without --probes."
    ),
]


def endpoint_of(llm: str, llm_model: str) -> Endpoint:
    """Whom to ask.

    Raises:
        SettingsError: the address or the name is missing.
    """
    if not llm or not llm_model:
        raise SettingsError("A language model needs an address and a name.", "Give --llm URL and --llm-model NAME.")
    from unlearning.endpoint import Endpoint

    return Endpoint(llm, llm_model)
