"""What an evaluation adds to its run's report: verdicts, every figure beside a perfect unlearner's, attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from unlearning.evaluation.report import ROLES, compare_table
from unlearning.evaluation.svg_charts import Series, curves

BRINGS_BACK: dict[Any, str] = {True: "brings it back", False: "does not bring it back"}
FIRST = ("baseline", "unlearned", "never_taught")


def evaluation_section(result: Mapping[str, Any]) -> str:
    """The evaluation of a run as HTML, all words escaped; "" without one.

    Args:
        result: `evaluation.json`.
    """
    if not result.get("metrics"):
        return ""
    partial = "" if result.get("complete", True) else " It was stopped before its end: some figures are missing."
    return (
        f"<section><h2>Probed: the {escape(str(result.get('suite', '')))} evaluation</h2>"
        "<p class='hint'>Each figure of every model, with its 95 % interval where it has one, and what a perfect "
        f"unlearner would score.{partial}</p>{_verdicts(result.get('verdicts') or {})}"
        f"{_figures(result['metrics'])}</section>{_attacks(result.get('attacks') or [])}"
    )


def _verdicts(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    titles = {"forgotten": "Forgotten?", "intact": "Everything else intact?"}
    cards = "".join(
        f"<div class='card {escape(str(verdicts[name].get('answer')))}'><h2>{title}</h2>"
        f"<p class='answer'>{escape(str(verdicts[name].get('answer')))}</p>"
        f"<p>{escape(str(verdicts[name].get('text', '')))}</p></div>"
        for name, title in titles.items()
        if name in verdicts
    )
    return f"<div class='verdicts'>{cards}</div>" if cards else ""


def _figures(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    table = compare_table(metrics)
    rows = [
        [
            row["title"],
            *(_cell(row["cells"].get(role)) for role in table["roles"]),
            (row.get("perfect") or {}).get("text", "–"),
        ]
        for row in table["rows"]
    ]
    notes = "".join(f"<dt>{escape(row['title'])}</dt><dd>{escape(row['reading'])}</dd>" for row in table["rows"])
    head = ["", *map(_role_title, table["roles"]), "perfect"]
    return f"{html_table(head, rows)}<details><summary>How to read these figures</summary><dl>{notes}</dl></details>"


def _cell(cell: Mapping[str, Any] | None) -> str:
    return "–" if cell is None else f"{cell['text']}\n{cell['detail']}".strip()


def _attacks(attacks: Sequence[Mapping[str, Any]]) -> str:
    if not attacks:
        return ""
    return (
        f"<section><h2>Attacks</h2><p class='hint'>{_brought_back(attacks)}</p>"
        f"{''.join(map(_attack, attacks))}</section>"
    )


def _brought_back(attacks: Sequence[Mapping[str, Any]]) -> str:
    judged = [attack["brings_back"] for attack in attacks if attack.get("brings_back") is not None]
    if not judged:
        return "Of none of these attacks can it be said whether it brings the text back."
    unsure = f"; {len(attacks) - len(judged)} more could not be judged" if len(judged) < len(attacks) else ""
    return f"{sum(judged)} of {len(judged)} bring the text back{unsure}."


def _attack(attack: Mapping[str, Any]) -> str:
    verdict = BRINGS_BACK.get(attack.get("brings_back"), "")
    chip = f" <span class='chip'>{verdict}</span>" if verdict else ""
    values = attack.get("values") or {}
    rows = [[_role_title(role), *_numbers(values[role])] for role in _ordered(values)]
    unit = str(attack.get("unit") or "value")
    return (
        f"<article><h3>{escape(str(attack.get('title', '')))}{chip}</h3>"
        f"<p class='hint'>{escape(str(attack.get('what') or ''))}</p><p>{escape(str(attack.get('text') or ''))}</p>"
        f"{html_table(['', unit, 'interval', 'perfect'], [[*row, _mark(values)] for row in rows]) if rows else ''}"
        f"{_series(attack)}</article>"
    )


def _numbers(cell: Mapping[str, Any]) -> list[str]:
    value, low, high = (cell.get(name) for name in ("value", "low", "high"))
    shown = "–" if value is None else f"{value:.3f}"
    return [shown, f"{low:.3f} to {high:.3f}" if low is not None and high is not None else ""]


def _mark(values: Mapping[str, Mapping[str, Any]]) -> str:
    """What the same attack gives of a model that never read the text."""
    never = (values.get("never_taught") or {}).get("value")
    return "–" if never is None else f"{never:.3f}"


def _series(attack: Mapping[str, Any]) -> str:
    series = attack.get("series") or {}
    if not series:
        return ""
    roles, axis = _ordered(series), attack.get("axis") or {}
    title = f"{axis.get('y') or attack.get('unit') or ''} over {axis.get('x') or 'steps'}"
    places = sorted({point[0] for role in roles for point in series[role]})
    by_role = [{point[0]: point[1] for point in series[role]} for role in roles]
    rows = [[f"{x:g}", *("" if own.get(x) is None else f"{own[x]:.3g}" for own in by_role)] for x in places]
    numbers = html_table([str(axis.get("x") or "step"), *map(_role_title, roles)], rows)
    picture = ""
    if "step" in str(axis.get("x")):  # other axes stand in the table below
        points = {role: [(x, y) for x, y in series[role] if y is not None] for role in roles}
        picture = curves([Series(_role_title(role), points[role], role) for role in roles], title, share=False)
    key = "".join(f"<li>{escape(_role_title(role))}</li>" for role in roles) if picture else ""
    listed = f"<ol class='key'>{key}</ol>" if key else ""
    return f"{picture}{listed}<details><summary>{escape(title)}</summary>{numbers}</details>"


def _ordered(roles: Mapping[str, Any]) -> list[str]:
    return [role for role in FIRST if role in roles] + [role for role in roles if role not in FIRST]


def _role_title(role: str) -> str:
    return ROLES.get(role, role.replace("_", " "))


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows; every cell escaped."""
    first = "".join(f"<th scope='col'>{escape(cell)}</th>" if cell else "<td></td>" for cell in head)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"
