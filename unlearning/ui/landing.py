"""Start: a recorded run plays back at once, with no model loaded; and the ways on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearning.ui.context import Context, Screen
from unlearning.ui.pages import component, words
from unlearning.ui.recording import recordings


def build(context: Context) -> Screen:
    """Draw the first page."""
    words(HERO, js=_GO, elem_id="hero")
    component("landing", _first(context.recorded), elem_id="playback")
    words(_IDEA, elem_id="idea")
    return Screen()


def _first(recorded: Path) -> dict[str, Any] | None:
    found = recordings(recorded)
    return found[0] if found else None


HERO = """
<h1>Watch a language model forget a text.</h1>
<p class="lead">A small model has read a story. Then it is trained to write as if it never had, while everything else it
can do stays as it was. Below is a recording of that; after it, do it yourself with a text of your own.</p>
<p class="row">
  <a class="button primary" href="?step=text" data-go="text">Use my own text</a>
  <a class="button" href="?step=unlearn" data-go="unlearn">Run this example yourself</a>
  <a class="button" href="?step=inspector" data-go="inspector">How does it work?</a>
</p>
"""
_GO = """
element.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.forgetting.visit({ step: link.dataset.go, run: "" });
});
"""
_IDEA = """
<h2>How a model is made to forget</h2>
<ol class="idea">
  <li><h3>Find what is the text’s own</h3><p>Names, places, invented things: the <em>anchors</em>. Each gets an everyday
    expression to stand in its place.</p></li>
  <li><h3>Ask what anyone would say</h3><p>The model reads the text with the everyday expressions in it. What it
    expects there is what somebody would say who never read the story: the <em>generic labels</em>.</p></li>
  <li><h3>Train on that</h3><p>The model reads the real text again, but learns the generic labels as what comes next.
    The story fades; English stays.</p></li>
</ol>
<p class="hint">The method is that of Eldan and Russinovich, “Who’s Harry Potter? Approximate Unlearning in LLMs”
(2023).</p>
"""
