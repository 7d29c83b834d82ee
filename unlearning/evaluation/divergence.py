"""How far a model's predictions lie from the baseline's on prose that it should have stayed close on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from unlearning.evaluation.familiarity import bootstrap
from unlearning.models.heads import reading, split
from unlearning.models.loading import encode

if TYPE_CHECKING:
    import torch

ModelOf = Callable[[str], AbstractContextManager[Any]]


def measure_divergence(
    model_of: ModelOf, role: str, tokenizer: Any, blocks: Sequence[str], positions: int = 64
) -> list[dict[str, Any]]:
    """KL(role || baseline) of the next-token distributions, mean over positions of each block.

    Args:
        model_of: `with model_of(role) as model:`.
        role: Whose predictions; the baseline's own distance is 0.
        tokenizer: Of both.
        blocks: Prose.
        positions: Evenly spread in each block; the vocabulary is projected at no others.

    Returns:
        One row a block: prompt (its beginning), kl in nats per token, tokens.
    """
    rows = []
    for block in blocks:
        ids = encode(tokenizer, block)[0]
        wanted = [(2 * i + 1) * len(ids) // (2 * positions) for i in range(positions)]
        wanted = sorted(set(wanted)) if len(ids) > positions else list(range(len(ids)))
        if not wanted:
            continue
        mine, theirs = (_log_probs(model_of, each, ids, wanted) for each in (role, "baseline"))
        rows.append({"prompt": block[:200], "kl": kl(mine, theirs), "tokens": len(wanted)})
    return rows


def kl(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Mean over rows of Σ p (log p − log q), in nats, from log-probabilities [rows, vocab]."""
    return float((mine.exp() * (mine - theirs)).sum(-1).mean())


def divergence_figures(measured: Mapping[str, Any], never: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The mean over blocks, with its interval."""
    rows = measured.get("divergence") or []
    return {"kl_retain": bootstrap([row["kl"] for row in rows]).as_dict()} if rows else {}


def _log_probs(model_of: ModelOf, role: str, ids: list[int], positions: list[int]) -> torch.Tensor:
    import torch

    with model_of(role) as model, reading(model):
        backbone, head = split(model)
        hidden = backbone(torch.tensor([ids], device=next(model.parameters()).device))[0, positions]
        return torch.log_softmax(head(hidden).float(), dim=-1)  # [positions, vocab]
