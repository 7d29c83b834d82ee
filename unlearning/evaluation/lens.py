"""The logit lens: what each layer would say if it were the last one (nostalgebraist 2020).

The hidden state behind a prompt is taken after every layer, put through the model's last norm and its output
projection, and asked for the text's word. A word that inner layers still rank high and only the last ones push down
has been covered up, not forgotten (Patil et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from unlearning.evaluation.attack_questions import PROBES, opened, probes_of, stop_if, with_weights
from unlearning.evaluation.attack_results import KNOWING, recovered, shown, values_of
from unlearning.evaluation.baselines import UNDERNEATH, ModelOf
from unlearning.evaluation.measure import MeasureInputs
from unlearning.evaluation.scoring import hidden_states
from unlearning.models.encoding import encode_pair
from unlearning.models.heads import reading, split, unwrap

if TYPE_CHECKING:
    import torch

NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm")  # what architectures call their last norm


def lens_by_layer(
    model_of: ModelOf,
    tokenizer: Any,
    inputs: MeasureInputs,
    roles: Sequence[str],
    report: Callable[..., None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean reciprocal rank of the first token of the text's word, layer by layer.

    The figure of a role is that of the layer that shows most beyond the last one; plainly asked is the last layer.
    A further model of another depth has no layers to compare with, so its figure is that of its last one.
    """
    probes, own = probes_of(inputs, tokenizer, PROBES["full"]), with_weights(roles)
    if not probes:
        return {}, {"text": "There was nothing to ask."}
    pairs = [encode_pair(tokenizer, probe.prompt, probe.targets[0]) for probe in probes]
    layers: dict[str, list[list[tuple[float, int]]]] = {}
    for step, role in enumerate(own, start=1):
        with model_of(role) as model:
            if _last_norm(model) is None:
                return {}, {"text": f"The last norm of a {type(unwrap(model)).__name__} is not known here."}
            layers[role] = look(model, pairs)
        report("step", step=step, steps=len(own))
        stop_if(should_stop)
    ranks = {role: [[1 / rank for _, rank in layer] for layer in rows] for role, rows in layers.items()}
    plain = {role: rows[-1] for role, rows in ranks.items()}
    for role in set(roles) - set(own):
        with model_of(role) as model:
            plain[role] = _ranks_outside(model, pairs)
    values: dict[str, Any] = {}
    evidence: dict[str, list[dict[str, Any]]] = {}
    words = [(probe.prompt, tokenizer.decode(after[:1])) for probe, (_, after) in zip(probes, pairs, strict=True)]
    for role in opened(plain, roles):
        depth = len(ranks[UNDERNEATH.get(role, role)])
        alike = {each: rows for each, rows in ranks.items() if len(rows) == depth}  # whose layers can be compared
        tables = [opened({each: rows[layer] for each, rows in alike.items()}, roles) for layer in range(depth)]
        judged = "unlearned" if role in KNOWING and "unlearned" in alike else role
        gains = [_gain(judged, table, plain, depth) for table in tables]
        layer = max(range(depth), key=lambda layer, gains=gains: (gains[layer], layer))  # type: ignore[misc]
        values[role] = values_of(tables[layer], plain, depth)[role] | {"layer": layer}
        evidence[role] = _seen(words, layers[UNDERNEATH.get(role, role)], layer, plain[role])
    return values, {
        "series": {role: [[layer, fmean(row)] for layer, row in enumerate(rows)] for role, rows in ranks.items()},
        "axis": {"x": "layer", "y": "mean of 1 / rank of the text's word"},
        "evidence": evidence,
        "layers": {
            role: [
                {"layer": n, "probability": fmean(p for p, _ in row), "rank": median(rank for _, rank in row)}
                for n, row in enumerate(rows)
            ]
            for role, rows in layers.items()
        },
    }  # fmt: skip


def look(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[list[tuple[float, int]]]:
    """Probability and rank (1: the likeliest) of the token that is to follow each row, at each layer.

    Args:
        model: A causal language model.
        pairs: Tokens of a prompt and of its continuation, of which the first counts.

    Returns:
        [layers + 1][pairs] of (probability, rank): the embeddings, then the state after each layer.
    """
    import torch

    found: list[list[tuple[float, int]]] = []
    with reading(model):
        for number, (before, after) in enumerate(pairs):
            states = _states(model, before)
            _, head = split(model)
            logits = head(states).float()  # [layers + 1, vocab]
            own = logits[:, after[0]]
            p = (own - logits.logsumexp(-1)).exp()
            rank = (logits > own[:, None]).sum(-1) + 1
            if number == 0:
                found = [[] for _ in range(len(states))]
            for layer, cell in zip(found, zip(p.tolist(), rank.tolist(), strict=True), strict=True):
                layer.append(cell)
    torch.clear_autocast_cache()
    return found


def _states(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """The state of the last position after each layer, normed as the last one is: [layers + 1, width]."""
    import torch

    core = unwrap(model)
    device = next(core.parameters()).device
    output = core.base_model(
        input_ids=torch.tensor([list(ids)], device=device), use_cache=False, output_hidden_states=True, return_dict=True
    )
    inner = torch.stack([state[0, -1] for state in output.hidden_states[:-1]])  # the last of them is normed already
    return torch.cat([_last_norm(model)(inner), output.last_hidden_state[:, -1]])


def _seen(
    words: Sequence[tuple[str, str]], layers: Sequence[Sequence[tuple[float, int]]], layer: int, plain: Sequence[float]
) -> list[dict[str, Any]]:
    """The evidence on one role: each prompt, the token that was looked for, and what the chosen layer says of it."""
    return [
        {
            "prompt": prompt, "target": token, "p": layers[layer][i][0], "layer": layer, "rank": layers[layer][i][1],
            "rank_asked_plainly": round(1 / plain[i]), "rank_at_each_layer": [row[i][1] for row in layers],
        }
        for i, (prompt, token) in enumerate(words)
    ]  # fmt: skip


def _ranks_outside(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """1 / rank of what is to follow, in what comes out of a model that is no weights of its own."""
    found = [0.0] * len(pairs)
    with reading(model):
        _, head = split(model)
        rows = [before for before, _ in pairs]
        for i, hidden in hidden_states(model, rows, [[len(row) - 1] for row in rows], 16):
            logits = head(hidden)[0].float()
            found[i] = 1 / (int((logits > logits[pairs[i][1][0]]).sum()) + 1)
    return found


def _last_norm(model: Any) -> Any:
    body = unwrap(model).base_model
    return next((getattr(body, name) for name in NORMS if hasattr(body, name)), None)


def _gain(role: str, attacked: dict[str, list[float]], plain: dict[str, list[float]], tried: int) -> float:
    """How much more a layer shows for sure than the model does when asked plainly; 0 where that is nothing."""
    if role in KNOWING or "baseline" not in attacked or shown(role, attacked) is None:
        return 0.0
    gain = recovered(role, attacked, plain, tried)
    return round(gain.value, 6) if gain and gain.low > 0 else 0.0
