"""Finished charts, for `gr.Plot`: no background of their own, so that they suit light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unlearning.ui.roles import ROLES, plotly_template

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEAST = 1e-6  # what a logarithmic axis shows as nothing
LONGEST_LABEL = 60
NAMED, NAMED_FROM = 8, 0.1  # tokens of a scatter that stand there by name: so many, if they changed so much


def scatter(probes: Sequence[Mapping[str, Any]], run: str) -> go.Figure:
    """Each measured prompt, before (across) against after (up); on the diagonal nothing has changed.

    Args:
        probes: {prompt, target, kind, before, after}.
        run: Id of the run that measured them.
    """
    own = [one for one in probes if one["kind"] != "control"]
    controls = [one for one in probes if one["kind"] == "control"]
    figure = _square(f"prompts of {run}")
    for name, group, symbol, colour in (
        ("the text’s own words", own, "circle", ROLES["unlearned"].colour),
        ("controls", controls, "diamond-open", "#808080"),
    ):
        if group:
            figure.add_scatter(
                x=[max(LEAST, float(one["before"])) for one in group],
                y=[max(LEAST, float(one["after"])) for one in group],
                mode="markers", name=f"{name} ({len(group)})",
                marker={"symbol": symbol, "color": colour, "size": 9, "opacity": 0.75, "line": {"width": 1.5}},
                customdata=[[_short(f"{one['prompt']}{one['target']}"), one["before"], one["after"]] for one in group],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]:.2%} → %{customdata[2]:.2%}<extra></extra>",
            )  # fmt: skip
    return figure


def tokens_scatter(measured: Mapping[str, Any], run: str) -> go.Figure:
    """Each token of a text, before against after; the ones that changed most by name.

    Args:
        measured: As `inference.measure_text` gives it, of two models.
        run: Id of the run whose models they are.
    """
    before, after = (measured["p"][role] for role in measured["roles"])
    points = [
        (_short(token.strip() or "white space"), b, a)
        for token, b, a in zip(measured["tokens"], before, after, strict=True)
        if b is not None and a is not None
    ]
    changes = [abs(b - a) for _, b, a in points]
    most = [i for i in sorted(range(len(points)), key=lambda i: -changes[i])[:NAMED] if changes[i] >= NAMED_FROM]
    figure = _square(f"tokens of {run}")
    figure.add_scatter(
        x=[max(LEAST, b) for _, b, _ in points], y=[max(LEAST, a) for _, _, a in points], mode="markers+text",
        name=f"tokens ({len(points)})", text=[points[i][0] if i in most else "" for i in range(len(points))],
        textposition="top center", textfont={"size": 12},
        marker={"color": ROLES["unlearned"].colour, "size": 7, "opacity": 0.55},
        customdata=[list(point) for point in points],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]:.2%} → %{customdata[2]:.2%}<extra></extra>",
    )  # fmt: skip
    return figure


def _square(same: str) -> go.Figure:
    """The empty chart. Where the `same` one is drawn over it, Plotly keeps somebody's zoom."""
    import plotly.graph_objects as go

    figure = go.Figure(
        layout={
            "template": plotly_template(), "height": 420, "hovermode": "closest", "margin": {"l": 96, "b": 64},
            "uirevision": same,
        }
    )  # fmt: skip
    ticks = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
    axis = {
        "type": "log", "range": [-6.2, 0.2], "tickvals": ticks,
        "ticktext": ["≤ 0.0001 %", "0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"],
    }  # fmt: skip
    across = axis | {
        "ticktext": [text if i % 2 == 0 else "" for i, text in enumerate(axis["ticktext"])],
        "tickangle": 0,
    }
    figure.update_xaxes(title={"text": "probability before", "standoff": 12}, **across)
    figure.update_yaxes(title="after", **axis)
    figure.add_scatter(
        x=[LEAST, 1], y=[LEAST, 1], mode="lines", name="unchanged", hoverinfo="skip",
        line={"color": "#808080", "width": 1, "dash": "dot"},
    )  # fmt: skip
    return figure


def _short(text: str) -> str:
    """A label. Plotly takes markup in texts: what looks like it is written otherwise."""
    flat = " ".join(text.split()).replace("<", "‹").replace(">", "›").replace("&", "＆").replace("$", "＄")
    return flat if len(flat) <= LONGEST_LABEL else "…" + flat[-LONGEST_LABEL + 1 :]
