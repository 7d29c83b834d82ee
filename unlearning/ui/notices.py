"""What is said beside a field, and what stands where there is nothing yet. Text only, never markup."""

from __future__ import annotations

import gradio as gr


def field_note(elem_id: str) -> gr.HTML:
    """A place beside a field for the engine's sentence. Its value: "" for nothing, str(error) for a refusal, or
    {"kind": "error" | "warning" | "good" | "hint", "text": …}."""
    return gr.HTML(
        "", html_template=_NOTE, js_on_load=None, apply_default_css=False, elem_id=elem_id, elem_classes=["note-place"]
    )


def note(kind: str, text: str) -> dict[str, str]:
    """A value for `field_note`."""
    return {"kind": kind, "text": text}


_NOTE = (
    "{{#if value}}{{#if value.text}}<p class='note {{value.kind}}' role='status'>{{value.text}}</p>"
    "{{else}}{{#unless value.kind}}<p class='note error' role='alert'>{{value}}</p>{{/unless}}{{/if}}{{/if}}"
)
GONE = (  # for an HTML component whose value is {"gone": a sentence}
    "<div class='empty'><h3>{{value.gone}}</h3>"
    "<p><a class='button primary' href='?step=runs' data-go='runs'>To the runs</a></p></div>"
)
