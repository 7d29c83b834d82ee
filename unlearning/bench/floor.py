"""What each stage is measured against: the least code that does the same passes, and the way of the method's authors.

Written against torch and transformers alone, so that a stage cannot be slow on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any


@contextmanager
def plain_layers(model: Any) -> Iterator[None]:
    """For as long as the block lasts, adapters compute as peft writes them."""
    from peft.tuners.lora.layer import Linear

    from unlearning.models.low_rank import LeanLinear

    layers: list[Any] = [module for module in model.modules() if type(module) is LeanLinear]
    for layer in layers:
        layer.__class__ = Linear
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = LeanLinear


Block = tuple[Sequence[int], Sequence[int]]  # token ids, and the positions whose next token is predicted


def padded(rows: Sequence[Sequence[int]]) -> Any:
    """Ids, [rows, time]."""
    import torch

    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.as_tensor(row)
    return ids


def next_tokens(blocks: Sequence[Block], time: int) -> tuple[Any, Any]:
    """Where something is predicted in the flattened [blocks × time] positions of a pass, and the token there, [n]."""
    import torch

    rows = [place * time + position for place, (_, positions) in enumerate(blocks) for position in positions]
    labels = [ids[(position + 1) % len(ids)] for ids, positions in blocks for position in positions]
    return torch.tensor(rows, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


def train_steps(model: Any, steps: Sequence[Sequence[Sequence[Block]]], dtype: str) -> None:
    """A bare training loop: steps of passes of blocks; the logits that count, all of a pass at once; AdamW.

    Args:
        model: Whose trainable parameters are trained (at a rate of next to nothing).
        steps: For each optimiser step its passes, for each pass its blocks.
        dtype: "bfloat16" computes under autocast.
    """
    import torch
    import torch.nn.functional as F

    core = model.get_base_model() if hasattr(model, "peft_config") else model
    body, head = core.base_model, core.get_output_embeddings()
    model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-9)
    kind = model.device.type
    for passes in steps:
        for blocks in passes:
            ids = padded([block for block, _ in blocks])
            rows, labels = (part.to(model.device) for part in next_tokens(blocks, ids.shape[1]))
            with torch.autocast(kind, torch.bfloat16) if dtype == "bfloat16" else nullcontext():
                hidden = body(input_ids=ids.to(model.device), use_cache=False).last_hidden_state
                logits = head(hidden.flatten(0, 1)[rows])  # [n, vocab]
            (F.cross_entropy(logits.float(), labels, reduction="sum") / max(1, len(labels))).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()


def forward_passes(model: Any, passes: Sequence[Sequence[Sequence[int]]]) -> None:
    """One bare forward pass over every block, with all its logits."""
    import torch

    with torch.inference_mode():
        for rows in passes:
            model(input_ids=padded(rows).to(model.device), use_cache=False).logits  # noqa: B018


def read_tokens(models: Sequence[Any], ids: Sequence[int]) -> list[Any]:
    """Log-probability of every token of a text under each model, opened one after the other."""
    import torch

    found = []
    for opened in models:
        with opened() as model, torch.inference_mode():
            row = torch.tensor([list(ids)], device=model.device)
            logs = model(input_ids=row, use_cache=False).logits[0, :-1].float().log_softmax(-1)
            found.append(logs.gather(-1, row[0, 1:, None]).cpu())
    return found


def authors_labels(
    baseline: Any, reinforced: Any, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]],
    maps: Sequence[Sequence[int]], alpha: float = 5.0,
) -> list[Any]:  # fmt: skip
    """Generic labels the way the method's authors make them (WHP, Algorithm 1): two whole models in float32, one
    block at a time, the logits of all positions kept.

    Args:
        baseline: In float32.
        reinforced: In float32, with weights of its own.
        sources: Token ids of each block.
        targets: Of its translation.
        maps: For each source position the one in the translation, −1 for none.
        alpha: α of eq. 1.

    Returns:
        The label of each position, −100 for none.
    """
    import torch

    labels = []
    for source, target, places in zip(sources, targets, maps, strict=True):
        with torch.no_grad():
            b = baseline(input_ids=torch.tensor([list(target)], device=baseline.device)).logits[0].float()
            r = reinforced(input_ids=torch.tensor([list(source)], device=baseline.device)).logits[0].float()
            index = torch.as_tensor([max(0, place) for place in places], device=b.device)
            b = b[index]  # [source, vocab]
            label = (b - alpha * torch.relu(r - b)).argmax(-1)
        label[torch.as_tensor(places, device=b.device) < 0] = -100
        labels.append(label.cpu())
    return labels
