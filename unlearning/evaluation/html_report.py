"""One run as one HTML file: settings, dictionary, figures with the numbers behind them, completions.

It needs nothing else: no script, no style sheet, no font, no picture from anywhere, and the browser is told to allow
none. Whatever a person or a model wrote is escaped. The text that was forgotten is not in it, only its title, length
and hash; prompts, completions and anchors are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePath
from string import Template
from typing import Any

from unlearning.config import PRESETS, make_settings
from unlearning.errors import UnlearningError
from unlearning.evaluation import recorded, suites, svg_charts
from unlearning.evaluation.evaluation_report import evaluation_section, html_table
from unlearning.evaluation.report import ROLES, side_by_side
from unlearning.runs.comparison import expected_and_spent, flatten
from unlearning.runs.durable import read_json_or_empty, write_file
from unlearning.runs.record import read_config
from unlearning.runs.store import load
from unlearning.text.anchors import Dictionary, load_dictionary

ANSWERS = {"yes": "yes", "partly": "partly", "no": "no", "unknown": "not known"}
QUESTIONS = {"forgotten": "Forgotten?", "intact": "Everything else intact?"}
STYLE = Path(__file__).resolve().parents[2] / "assets" / "report.css"
STAGES = {"teach": "Teach", "reinforce": "Reinforce", "finetune": "Forget"}


def write_report(run: Path, target: Path) -> Path:
    """Write the report of a run; gives `target`.

    Args:
        run: The run's folder; it may have been stopped before its end, then there is less in the report.
        target: An HTML file.

    Raises:
        RunDamagedError: it is no usable run. RunError: the target cannot be written.
    """
    write_file(target, html_report(run))
    return target


def html_report(run: Path) -> str:
    """The report of a run as one HTML text.

    Raises:
        RunDamagedError: it is no usable run.
    """
    config = read_config(run)
    evaluation = recorded.evaluation(run)
    parts = [
        _verdicts(evaluation.get("verdicts") or {}),
        _table(evaluation.get("table") or {}),
        evaluation_section(_evaluation(run)),
        _curves(run),
        _scatter(run),
        _losses(run),
        _completions(run),
        _anchors(run),
        _settings(config),
        _circumstances(run, config),
    ]
    told = load(run)
    return _PAGE.substitute(
        title=escape(told.name),
        style=STYLE.read_text(encoding="utf-8"),
        head=_head(told.name, config, str(told.state)),
        body="\n".join(part for part in parts if part),
    )


def _evaluation(run: Path) -> dict[str, Any]:
    """What the newest full evaluation of the run found, else the newest of any suite."""
    workspace = run.parent.parent
    return suites.newest_result(workspace, run.name, "full") or suites.newest_result(workspace, run.name)


def _head(name: str, config: Mapping[str, Any], state: str) -> str:
    text, settings = config["text"], config["settings"]
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(config.get("created") or 0)))
    model = _public(settings["model"]["name"])
    about = (f"“{text.get('title', '')}”", f"{text.get('words', 0):,} words", model, f"preset {settings['preset']}")
    facts = " · ".join(about)
    return (
        f"<h1>{escape(name)}</h1><p class='lead'>{escape(facts)}</p>"
        f"<p class='hint'>A language model was made to forget a text. Started {made}; {escape(state)}.</p>"
    )


# --- results ---


def _verdicts(verdicts: Mapping[str, Any]) -> str:
    cards = [_verdict(title, verdicts[question]) for question, title in QUESTIONS.items() if question in verdicts]
    return f"<section class='verdicts'>{''.join(cards)}</section>" if cards else ""


def _verdict(title: str, verdict: Mapping[str, Any]) -> str:
    answer = str(verdict.get("answer"))
    return (
        f"<div class='card {escape(answer)}'><h2>{title}</h2><p class='answer'>{ANSWERS.get(answer, '')}</p>"
        f"<p>{escape(str(verdict.get('text', '')))}</p></div>"
    )


def _table(table: Mapping[str, Any]) -> str:
    if not table.get("rows"):
        return "<section><h2>Before and after</h2><p class='hint'>This run was not measured.</p></section>"
    head = ["", *(ROLES.get(role, role) for role in table["roles"])]
    rows = [
        [row["title"], *(row["cells"].get(role, {}).get("text", "–") for role in table["roles"])]
        for row in table["rows"]
    ]
    notes = "".join(f"<dt>{escape(row['title'])}</dt><dd>{escape(row['reading'])}</dd>" for row in table["rows"])
    return (
        f"<section><h2>Before and after</h2>{html_table(head, rows)}"
        f"<details><summary>How to read these figures</summary><dl>{notes}</dl></details></section>"
    )


def _curves(run: Path) -> str:
    found = recorded.curves(run)
    if not found:
        return ""
    series = [svg_charts.Series(f"{c.prompt}{c.target}", c.points, c.kind) for c in found]
    steps = sorted({step for curve in found for step, _ in curve.points})
    by_step = [dict(curve.points) for curve in found]
    rows = [[str(step), *(_probability(values.get(step)) for values in by_step)] for step in steps]
    key = "".join(
        f"<li class='{escape(c.kind)}'>{escape(c.prompt)}<strong>{escape(c.target)}</strong>"
        f"{' (control: should stay)' if c.kind == 'control' else ''}</li>"
        for c in found
    )
    return (
        "<section><h2>Watching it forget</h2><p class='hint'>Probability of the watched words over the steps; "
        f"controls are dashed.</p>{svg_charts.curves(series, 'Probability of the watched words over the steps')}"
        f"<ol class='key'>{key}</ol>{_behind(['step', *map(str, range(1, len(found) + 1))], rows)}</section>"
    )


def _scatter(run: Path) -> str:
    probes = recorded.before_and_after(run)
    if not probes:
        return ""
    groups, names = [], []
    for kind in ("probe", "control"):
        own = [one for one in probes if (one["kind"] == "control") == (kind == "control")]
        groups.append(svg_charts.Series(kind, [(one["before"], one["after"]) for one in own], kind))
        names.append([f"{one['prompt']}{one['target']}" for one in own])
    rows = [
        [one["prompt"], one["target"].strip(), one["kind"], _probability(one["before"]), _probability(one["after"])]
        for one in sorted(probes, key=lambda one: one["after"] - one["before"])
    ]
    picture = svg_charts.scatter(groups, "Probability before against after, for each measured word", names)
    return (
        "<section><h2>Every measured word</h2><p class='hint'>Before (across) against after (up). On the dotted line "
        "nothing has changed; filled: words that only the text tells; rings: controls.</p>"
        f"{picture}{_behind(['prompt', 'word', 'kind', 'before', 'after'], rows)}</section>"
    )


def _losses(run: Path) -> str:
    parts = []
    for stage, points in recorded.losses(run).items():
        if len(points) > 1:
            title = f"{STAGES.get(stage, stage)}: loss"
            picture = svg_charts.curves([svg_charts.Series("loss", points, "loss")], title, share=False)
            behind = _behind(["step", "loss"], [[str(step), f"{loss:.4f}"] for step, loss in points])
            parts.append(f"<div><h3>{escape(title)}</h3>{picture}{behind}</div>")
    return f"<section><h2>Training</h2><div class='side'>{''.join(parts)}</div></section>" if parts else ""


def _completions(run: Path) -> str:
    by_role = {role: found for role, found in recorded.measured(run).items() if found.get("completions")}
    rows = side_by_side(by_role) if "baseline" in by_role else []
    if not rows:
        return ""
    return (
        "<section><h2>How they go on</h2><p class='hint'>Grade 3: names of the text; 2: typical of its themes; "
        f"1: may be chance; 0: nothing of it.</p>{''.join(map(_pair, rows))}</section>"
    )


def _pair(row: Mapping[str, Any]) -> str:
    chip = " <span class='chip'>control</span>" if row["kind"] == "control" else ""
    voices = "".join(_completion(role, row[role]) for role in recorded.ROLES_COMPARED if role in row)
    prompt = f"<p class='prompt' dir='auto'>{escape(row['prompt'])}{chip}</p>"
    return f"<article>{prompt}<div class='side'>{voices}</div></article>"


def _completion(role: str, found: Mapping[str, Any]) -> str:
    evidence = ", ".join(map(str, found.get("evidence") or []))
    fluency = (found.get("fluency") or {}).get("verdict", "")
    foot = " · ".join(part for part in (f"grade {found.get('grade')}", evidence, str(fluency)) if part)
    return (
        f"<div class='voice {escape(role)}'><h3>{escape(ROLES.get(role, role))}</h3>"
        f"<p dir='auto'>{escape(str(found.get('text', '')))}</p><p class='hint'>{escape(foot)}</p></div>"
    )


# --- what it was made of ---


def _anchors(run: Path) -> str:
    try:
        dictionary = load_dictionary(run / "anchors.json")
    except UnlearningError:
        dictionary = Dictionary(())
    rows = [
        [anchor.term, " | ".join(anchor.translations), anchor.kind, "" if anchor.enabled else "off"]
        for anchor in dictionary.anchors
    ]
    if not rows:
        return ""
    table = html_table(["anchor", "generic translations", "kind", ""], rows)
    return f"<section><h2>Dictionary</h2><details><summary>{len(rows)} anchors</summary>{table}</details></section>"


def _settings(config: Mapping[str, Any]) -> str:
    own = flatten(config["settings"])
    own["model.name"] = _public(own["model.name"])
    preset = own.get("preset")
    usual = flatten(make_settings(preset).model_dump(mode="json")) if preset in PRESETS else {}
    rows = [
        [name, _value(value), "changed" if name in usual and usual[name] != value else ""]
        for name, value in own.items()
    ]
    return (
        "<section><h2>Settings</h2><details><summary>Every setting, and what differs from the preset</summary>"
        f"{html_table(['setting', 'value', ''], rows)}</details></section>"
    )


def _circumstances(run: Path, config: Mapping[str, Any]) -> str:
    spent = (read_json_or_empty(run / "summary.json") or {}).get("spent") or {}
    facts = expected_and_spent(config.get("budget") or {}, spent)
    facts += [("SHA-256 of the text", str(config["text"].get("sha256", "")))]
    facts += [(f"version of {name}", str(value)) for name, value in (config.get("versions") or {}).items()]
    facts += [(str(name), str(value)) for name, value in (config.get("hardware") or {}).items()]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts)
    numbers = json.dumps(recorded.evaluation(run), ensure_ascii=False, indent=1)
    return (
        f"<section><h2>Circumstances</h2><dl>{listed}</dl><details><summary>All figures as JSON</summary>"
        f"<pre>{escape(numbers)}</pre></details></section>"
    )


# --- pieces ---


def _behind(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<details><summary>The numbers</summary>{html_table(head, rows)}</details>"


def _probability(p: float | None) -> str:
    return "" if p is None else f"{p:.3g}"


def _public(model: str) -> str:
    """A model's name without the folders of this machine, where it was given as one."""
    return PurePath(model).name if model.startswith(("/", ".", "~")) else model


def _value(value: Any) -> str:
    return "on" if value is True else "off" if value is False else "–" if value is None else str(value)


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>$title · Forgetting Lab</title>
<style>
$style
</style>
</head>
<body>
<main>
<header>
$head
</header>
$body
<footer><p class="hint">Approximate unlearning changes what a model says, not what is provably in its weights.
The method is that of Eldan and Russinovich, “Who’s Harry Potter? Approximate Unlearning in LLMs”
(2023, arXiv 2310.02238).</p></footer>
</main>
</body>
</html>
""")
