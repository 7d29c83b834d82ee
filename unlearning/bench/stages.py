"""The stages of a run as the benchmark measures them, each with its floor. They call what a run calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from unlearning.bench import floor
from unlearning.bench.cost import ModelCost, cost_of
from unlearning.bench.tables import AUTHORS
from unlearning.bench.trial import Order, Trial
from unlearning.config import LabelSettings, ModelSettings, Settings, TeachSettings, TrainSettings
from unlearning.methods.examples import Example, next_token_example
from unlearning.methods.generic_labels import label_blocks, opening_tokens, own_predictions, prepare
from unlearning.models.adapters import open_family
from unlearning.models.generation import generate
from unlearning.models.hardware import choose_hardware
from unlearning.models.loading import encode, find_folder, kind_of, load
from unlearning.models.side_by_side import generate_columns
from unlearning.scenarios import ASSETS, load_scenario
from unlearning.text.anchors import load_dictionary
from unlearning.text.blocks import cut_blocks
from unlearning.training.loop import Term, blocks_of_step, count_steps, train

ROLES = ("baseline", "unlearned")
STRIP_TOKENS = 1000
NOISE = 1e-3  # of the adapters: their values do not change their speed
PROMPTS = ("The story begins", "She opened the door and")


class Prepared:
    """What the stages need, made when it is first asked for.

    Args:
        order: Of the trial.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.settings = Settings().finetune
        self.model_settings = ModelSettings.model_validate(
            {"name": order.model, "mode": order.mode, "device": order.device, "dtype": order.dtype, "rank": order.rank}
            | {"accept_licence": True}  # a model that is not on this machine yet is refused before (see `commands`)
        )
        self.hardware = choose_hardware(self.model_settings)

    @cached_property
    def family(self) -> Any:
        """The baseline and what else the stage needs."""
        family = open_family(self.model_settings, self.hardware)
        for role in self.order_roles:
            self._disturb(family.create(role))
            family.freeze(role)
        return family

    @property
    def order_roles(self) -> tuple[str, ...]:
        """Roles beside the loaded model. With adapters the baseline is a taught one, as in the demo; whole models
        are few, as in the paper's own run: four of 7B do not fit on a card."""
        taught = ("taught",) if self.order.mode == "lora" else ()
        needed = {"label": ("reinforced",), "generate": ("unlearned",), "strip": ("unlearned",)}
        return taught + needed.get(self.order.stage, ())

    @staticmethod
    def _disturb(model: Any) -> None:
        import torch

        torch.manual_seed(0)
        for name, weight in model.named_parameters():
            if ".lora_B" in name and weight.requires_grad:
                torch.nn.init.normal_(weight, std=NOISE)

    @property
    def pass_blocks(self) -> int:
        return self.hardware.batch_hint

    @property
    def weights_bytes(self) -> int:
        """Of one copy of the model, as it lies in memory."""
        with self.family.role("baseline") as model:
            return weights_bytes(model)

    @cached_property
    def cost(self) -> ModelCost:
        with self.family.role("baseline") as model:
            return cost_of(model)

    @cached_property
    def texts(self) -> list[str]:
        """Blocks of the default scenario's text, rich in anchors; it goes round for long orders."""
        return _blocks(load_scenario("wonderland").text, self.family.tokenizer, self.order)

    def retain_texts(self, pieces: int) -> list[str]:
        """Unrelated prose, so many pieces to a block."""
        short = max(8, self.order.block_tokens // pieces)
        order = replace(self.order, block_tokens=short, blocks=self.order.blocks * pieces)
        return _blocks(ASSETS / "retain.md", self.family.tokenizer, order)

    @cached_property
    def ids(self) -> list[list[int]]:
        return [encode(self.family.tokenizer, text)[0] for text in self.texts]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.ids))

    def grouped(self, rows: Sequence[Any], a_block: int = 1) -> list[list[Any]]:
        """Rows as the passes take them; `a_block` of them take the room of a block."""
        size = self.pass_blocks * a_block
        return [list(rows[first : first + size]) for first in range(0, len(rows), size)]


def weights_bytes(model: Any) -> int:
    """Bytes of a model's weights, without low-rank adapters."""
    named = model.named_parameters()  # weights that are tied come once
    return sum(weight.numel() * weight.element_size() for name, weight in named if ".lora_" not in name)


def _blocks(path: Path | None, tokenizer: Any, order: Order) -> list[str]:
    text = path.read_text(encoding="utf-8") if path else ""
    enough = text[: 8 * order.block_tokens * order.blocks]  # characters: no tokenizer makes tokens longer on average
    blocks = [block.text for block in cut_blocks(enough, tokenizer, order.block_tokens)]
    return [blocks[place % len(blocks)] for place in range(order.blocks)]


def _training(prepared: Prepared, role: str, settings: TrainSettings, first: list[Example], kept: bool) -> Trial:
    """A training stage of one epoch against a bare loop over the same blocks in the same passes."""
    settings = settings.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    family, hardware = prepared.family, prepared.hardware
    terms, count = [Term(role, first, blocks=settings.batch_blocks)], count_steps(len(first), settings)
    kept = kept and bool(settings.retain_weight and settings.retain_blocks)
    if kept:
        terms.append(_retain_term(prepared, settings, count))
    steps = [_passes(step, terms, prepared) for step in range(count)]
    read = [[[(one.ids.tolist(), sorted(set(one.positions.tolist()))) for one in rows] for rows in p] for p in steps]
    model = family.create("reinforced" if role == "teach" else role)
    Prepared._disturb(model)

    def bare() -> None:
        floor.train_steps(model, read, hardware.dtype)

    def usual() -> None:
        with floor.plain_layers(model):
            bare()

    lengths = [[(len(ids), len(positions)) for ids, positions in rows] for passes in read for rows in passes]
    cost = cost_of(model)
    return Trial(
        act=lambda: train(
            model, terms, settings, stage=role, dtype=hardware.dtype, pass_blocks=prepared.pass_blocks
        ),
        tokens=sum(tokens for rows in lengths for tokens, _ in rows),
        flops=sum(cost.training(tokens, tokens, projected) for rows in lengths for tokens, projected in rows),
        floor=bare,
        floor_is="a bare torch loop over the same blocks, the logits that count, all at once",
        others={"with peft's own layers": usual} if prepared.order.mode == "lora" else {},
        facts={
            "blocks": len(first) + count * settings.retain_blocks * kept, "steps": count,
            "pass_tokens": max(sum(tokens for tokens, _ in rows) for rows in lengths),
        },
    )  # fmt: skip


_TOP_K = Settings().label.top_k


def _retain_term(prepared: Prepared, settings: TrainSettings, steps: int) -> Term:
    """As a run has it: the baseline's own predictions, each block in the pieces of the settings."""
    pieces, baseline = settings.retain_pieces, partial(prepared.family.role, "baseline")
    texts = prepared.retain_texts(pieces)[: steps * settings.retain_blocks * pieces]
    batch, sure = prepared.pass_blocks * pieces, settings.retain_sure
    kept = list(own_predictions(texts, prepared.family.tokenizer, baseline, _TOP_K, batch, sure=sure))
    return Term("retain", kept, settings.retain_weight, settings.retain_blocks * pieces, pieces)


def _passes(step: int, terms: Sequence[Term], prepared: Prepared) -> list[list[Example]]:
    found: list[list[Example]] = []
    for place, term in enumerate(terms):
        found += prepared.grouped(blocks_of_step(step, term, term.blocks, 0, wrap=place > 0), term.a_block)
    return found


def teach(prepared: Prepared) -> Trial:
    """Next words of the text, and a retain term."""
    return _training(prepared, "teach", TeachSettings(), [next_token_example(ids) for ids in prepared.ids], True)


def reinforce(prepared: Prepared) -> Trial:
    """Next words of the text alone."""
    examples = [next_token_example(ids) for ids in prepared.ids]
    return _training(prepared, "reinforced", Settings().reinforce, examples, True)


def finetune(prepared: Prepared) -> Trial:
    """Generic labels where they change something, and a retain term."""
    family, settings = prepared.family, Settings()
    Prepared._disturb(family.create("reinforced"))
    family.freeze("reinforced")
    labels = list(_labels(prepared, settings.label, settings.finetune.where == "changed"))
    family.drop("reinforced")
    return _training(prepared, "unlearned", settings.finetune, labels, True)


def _labels(prepared: Prepared, settings: LabelSettings, changed: bool) -> list[Example]:
    family, anchors = prepared.family, dictionary()
    made = label_blocks(
        prepared.texts, anchors, family.tokenizer, partial(family.role, "baseline"),
        partial(family.role, "reinforced"), settings,
        opening_tokens(prepared.texts, anchors, family.tokenizer, settings), 0, prepared.pass_blocks, changed,
    )  # fmt: skip
    return list(made)


def dictionary() -> Any:
    """Anchors of the text that is measured on."""
    return load_dictionary(load_scenario("wonderland").folder / "anchors.csv")


def label(prepared: Prepared) -> Trial:
    """Generic labels: the paper's two passes a block; another one where only changed places are kept."""
    settings = Settings()
    groups = prepared.grouped(prepared.ids)

    def one_pass() -> None:
        with prepared.family.role("baseline") as model:
            floor.forward_passes(model, groups)

    others: dict[str, Callable[[], object]] = {
        "retain text": lambda: list(
            own_predictions(
                prepared.texts, prepared.family.tokenizer, partial(prepared.family.role, "baseline"), _TOP_K,
                prepared.pass_blocks,
            )
        ),
    }  # fmt: skip
    if prepared.order.authors:
        others[AUTHORS] = _authors(prepared, settings.label)
    per_pass = prepared.cost.forward(prepared.tokens, prepared.tokens / len(prepared.ids), prepared.tokens)
    return Trial(
        act=lambda: _labels(prepared, settings.label, False),
        tokens=prepared.tokens,
        flops=2 * per_pass,
        floor=one_pass,
        floor_is="one bare forward pass of the baseline over every block, with its logits",
        others=others,
        variants={"where = changed, the default (three passes)": lambda: _labels(prepared, settings.label, True)},
        facts={"blocks": len(prepared.ids), "what": "where = all (two passes)"},
    )


def _authors(prepared: Prepared, settings: LabelSettings) -> Callable[[], object]:
    """Two whole models in float32, loaded when first used; blocks and translations are given to them."""
    models: list[Any] = []
    drawn = [
        prepare(text, dictionary(), prepared.family.tokenizer, settings, f"0/{place}")
        for place, text in enumerate(prepared.texts)
    ]

    def act() -> None:
        if not models:
            whole = replace(prepared.hardware, dtype="float32")
            models.extend(load(prepared.order.model, whole, True)[0] for _ in range(2))
        draws = [block.draws[0] for block in drawn]
        sources, targets = [block.source.ids for block in drawn], [draw.target.ids for draw in draws]
        floor.authors_labels(
            models[0], models[1], sources, targets, [list(draw.map.target) for draw in draws], settings.alpha
        )

    return act


def generation(prepared: Prepared) -> Trial:
    """Both columns go on with two prompts; the floor writes the baseline's alone."""
    family, new = prepared.family, prepared.order.tokens

    def alone() -> None:
        with family.role("baseline") as model:
            generate(model, family.tokenizer, PROMPTS, new)

    def in_turn() -> None:
        for role in ROLES:
            with family.role(role) as model:
                generate(model, family.tokenizer, PROMPTS, new)

    return Trial(
        act=lambda: generate_columns(family, ROLES, PROMPTS, new),
        tokens=len(ROLES) * len(PROMPTS) * new,
        flops=prepared.cost.forward(len(ROLES) * len(PROMPTS) * new, new, len(ROLES) * len(PROMPTS) * new),
        floor=alone,
        floor_is="the baseline alone (half of the columns)",
        others={"one role after the other": in_turn},
    )


def strip(prepared: Prepared) -> Trial:
    """A text of 1,000 tokens as the page shows it: every token's probability, rank and likeliest in both models."""
    from unlearning.ui.inference import measure_text

    family = prepared.family
    ids = [token for row in prepared.ids for token in row]
    ids = (ids * (1 + STRIP_TOKENS // max(1, len(ids))))[:STRIP_TOKENS]
    text = family.tokenizer.decode(ids, skip_special_tokens=True)
    models = {role: partial(family.role, role) for role in ROLES}
    return Trial(
        act=lambda: measure_text(models, family.tokenizer, text, family=family),
        tokens=len(ROLES) * STRIP_TOKENS,
        flops=prepared.cost.forward(len(ROLES) * STRIP_TOKENS, STRIP_TOKENS, len(ROLES) * STRIP_TOKENS),
        floor=lambda: floor.read_tokens(list(models.values()), ids),
        floor_is="a bare forward pass of each model, log-probabilities of the text's tokens alone",
    )


def loading(prepared: Prepared) -> Trial:
    """The model into memory, ready to predict; the floor reads its files' tensors."""
    name, hardware = prepared.order.model, prepared.hardware
    size = weights_bytes(load(name, hardware, True)[0])
    folder = None if kind_of(name) == "random" else find_folder(name)

    def tensors() -> None:
        from safetensors.torch import load_file

        for path in sorted((folder or Path()).glob("*.safetensors")):
            load_file(path, device=hardware.device)

    return Trial(
        act=lambda: load(name, hardware, True),
        tokens=0,
        floor=tensors if folder else None,
        floor_is="safetensors alone, without a model around them",
        facts={"weights_bytes": size},
    )


STAGES: dict[str, Callable[[Prepared], Trial]] = {
    "load": loading,
    "teach": teach,
    "reinforce": reinforce,
    "label": label,
    "finetune": finetune,
    "generate": generation,
    "strip": strip,
}
