"""Names and colours of the models that are compared, the same in every chart, strip and legend.

The colours are those of Okabe and Ito, which people with any kind of colour blindness can tell apart; they are never
the only signal. assets/style.css has the same ones as CSS variables, in a light and a dark tone for text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Role:
    """One model of a comparison.

    Attributes:
        name: As `models.adapters.ROLES`, or "generic" and "prompt_only", which are no weights of their own.
        title: What people read.
        colour: For lines and bars, on light and dark ground.
        dash: Of its line, as plotly names it: the second signal.
        says: What it is, in one sentence.
    """

    name: str
    title: str
    colour: str
    dash: str
    says: str


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("baseline", "before", "#0072B2", "solid", "The model that knows the text: the one that is to forget."),
        Role("unlearned", "after", "#D55E00", "solid", "The model that was made to forget the text."),
        Role("reinforced", "reinforced", "#CC79A7", "dash", "After still more of the text: what rises is its own."),
        Role("generic", "generic target", "#009E73", "dot", "What one would say who never read the text."),
        Role("never_taught", "never read it", "#7F7F7F", "dashdot", "The model before it was taught the text."),
        Role("taught", "taught", "#0072B2", "solid", "The model after it was taught the text."),
        Role("prompt_only", "only asked to", "#56B4E9", "longdash", "The model before, asked to act ignorant."),
        Role("prompted", "only asked to", "#56B4E9", "longdash", "The model before, asked to act ignorant."),
        Role("filtered", "filtered", "#E69F00", "dash", "The model before; what it says of the text is taken out."),
        Role("reinforced_formula", "formula only", "#CC79A7", "dot", "The method’s formula at work, without training."),
    )
}  # fmt: skip


def plotly_template() -> Any:
    """A figure template that suits light and dark: no background, mid-grey lines and text, roles' colours in order."""
    import plotly.graph_objects as go

    grey = "rgba(128,128,128,{})"
    axis = {"gridcolor": grey.format(0.22), "zerolinecolor": grey.format(0.4), "linecolor": grey.format(0.5)}
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 14, "color": "#808080"},
            "colorway": [role.colour for role in ROLES.values()],
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
            "legend": {"orientation": "h", "y": 1.08, "x": 0},
            "hovermode": "x unified",
        }
    )
