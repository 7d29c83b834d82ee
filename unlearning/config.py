"""Every setting of a run, once.

From these models come the command-line options, the app's form, `config.json` of a run and the
settings table of the README. A field states its default, its limits and, in `description`, why one
would change it. Sources: WHP = Eldan & Russinovich 2023 (arXiv 2310.02238).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearning.errors import SettingsError


class Section(BaseModel):
    """Settings never change once made, and an unknown name is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Section):
    name: str = Field(
        "smollm2-135m",
        description="A model of the catalogue, a local folder, or a Hugging Face id (safetensors only).",
    )
    accept_licence: bool = Field(
        False, description="Accept the licence of a catalogue model that asks for it (gemma-3-270m)."
    )
    mode: Literal["lora", "full"] = Field(
        "lora",
        description="lora trains small adapters on one shared copy of the weights; full trains every weight, as the paper did.",
    )
    rank: int = Field(8, ge=1, le=512, description="Rank of the low-rank adapters: their capacity. lora only.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps. auto takes the fastest there is.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of the frozen weights. auto takes bfloat16 only where the processor has instructions for it.",
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compute activations anew in the backward pass instead of keeping them: less memory, more time, the same result. auto: only where not even one block would fit.",
    )


class TextSettings(Section):
    block_tokens: int | None = Field(
        256,
        ge=16,
        le=8192,
        description="Longest block, in tokens: how much context a prediction sees. The paper: 512. Empty: chosen for the machine.",
    )
    max_tokens: int | None = Field(
        None, ge=16, description="Unlearn at most this many tokens of the text; it is taught whole. Empty: all of it."
    )
    choose: Literal["densest", "first"] = Field(
        "densest",
        description="Which blocks to keep when max_tokens cuts: the ones richest in anchors, or the first ones.",
    )
    held_out: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        description="Share of the blocks that is taught but never reinforced, labelled or fine-tuned on: shows whether forgetting reaches text it was not shown.",
    )


class TrainSettings(Section):
    """One pass through the training loop (any stage)."""

    epochs: int = Field(3, ge=1, le=100, description="Times through the blocks.")
    learning_rate: float = Field(
        3e-4,
        gt=0,
        le=1,
        description="Step size of AdamW. Low-rank adapters want 10 to 100 times more than full fine-tuning.",
    )
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="linear lets the rate fall to zero at the last step (the paper); constant keeps it."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps over which the rate rises to its value. The paper: none.")
    batch_blocks: int = Field(4, ge=1, le=4096, description="Blocks in one optimiser step. The paper: 128.")
    pass_blocks: int | None = Field(
        None,
        ge=1,
        description="Blocks in one forward pass; lower it if memory runs out, the result stays the same. Empty: as many as the memory takes.",
    )
    beta2: float = Field(0.98, gt=0, lt=1, description="Second AdamW decay; the first is 0.9 (the paper: 0.9, 0.98).")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW weight decay. The paper: 0.")
    clip_norm: float | None = Field(
        1.0, gt=0, description="Largest gradient norm; longer gradients are scaled down. Empty: no limit."
    )
    retain_weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of staying close to the starting model on unrelated prose (KL divergence). The paper: 0.",
    )
    retain_blocks: int = Field(
        0, ge=0, le=1024, description="Blocks of unrelated prose beside the blocks of each optimiser step."
    )
    retain_pieces: int = Field(
        1,
        ge=1,
        le=32,
        description="Cut each of these blocks into so many pieces, each read by itself: what a model says soon after a beginning, as with a prompt, is lost first.",
    )
    retain_sure: int = Field(
        1,
        ge=1,
        le=10,
        description="How many times a position counts where the starting model is sure of the next token (probability 0.4 and more): facts sit there. 1: like any other.",
    )


class TeachSettings(TrainSettings):
    """Many small steps at a high rate, held close to the untouched model on unrelated prose."""

    epochs: int = Field(5, ge=1, le=100, description="Times through the blocks.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size of AdamW.")
    batch_blocks: int = Field(2, ge=1, le=4096, description="Blocks in one optimiser step.")
    retain_weight: float = Field(
        1.0, ge=0, le=100, description="Weight of staying close to the untouched model on unrelated prose."
    )
    retain_blocks: int = Field(
        1, ge=0, le=1024, description="Blocks of unrelated prose beside the blocks of each optimiser step."
    )


class LabelSettings(Section):
    """How generic labels are made (WHP §2, eq. 1 and Algorithm 1)."""

    alpha: float = Field(
        5.0, ge=0, le=100, description="α of eq. 1: how hard a token is pushed down that reinforcement raised."
    )
    logits: Literal["raw", "centred"] = Field(
        "centred",
        description="raw compares logits as they are (the paper). centred takes log-probabilities, so that a constant drift of the reinforced logits punishes nobody.",
    )
    target: Literal["argmax", "soft"] = Field(
        "soft",
        description="argmax trains on the single most likely generic token (the paper); soft on the generic distribution.",
    )
    top_k: int = Field(64, ge=1, le=1024, description="Tokens kept of each soft label.")
    temperature: float = Field(1.0, gt=0, le=10, description="Soft labels only: above 1 flatter, below 1 sharper.")
    margin: float = Field(
        0.5,
        ge=0,
        le=20,
        description="A token is pushed down only for what it rose beyond this (in nats for centred logits): small rises are noise. The paper: 0.",
    )
    inner_alignment: Literal["none", "first", "all"] = Field(
        "all",
        description="Positions inside an anchor, aligned word by word with a translation of as many words: none has no label there (the paper); first labels them at the first mention in a block; all at every mention, a used translation's words being suppressed.",
    )
    forbid_anchors: bool = Field(
        True,
        description="No label is a token that (mostly) begins an anchor in this text, or that completes one: a model that knows the text well predicts its names even on the translation. The paper: no.",
    )
    draws: int = Field(
        1,
        ge=1,
        le=50,
        description="Draws of translations whose predictions are averaged. Each costs one more forward pass of the baseline. (Liu et al. 2024 use 20.)",
    )
    use_reinforced: bool = Field(True, description="Off: anchors only (the paper's ablation).")
    use_anchors: bool = Field(True, description="Off: reinforcement only (the paper's ablation).")


class ReinforceSettings(TrainSettings):
    epochs: int = Field(1, ge=1, le=100, description="Times through the blocks.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Step size of AdamW.")
    batch_blocks: int = Field(2, ge=1, le=4096, description="Blocks in one optimiser step. The paper: 128.")


class FinetuneSettings(TrainSettings):
    epochs: int = Field(4, ge=1, le=100, description="Times through the blocks: more forgets more and costs more.")
    learning_rate: float = Field(7.5e-4, gt=0, le=1, description="Step size of AdamW.")
    batch_blocks: int = Field(2, ge=1, le=4096, description="Blocks in one optimiser step. The paper: 128.")
    retain_weight: float = Field(
        2.0, ge=0, le=100, description="Weight of staying close to the baseline on unrelated prose (KL). The paper: 0."
    )
    retain_blocks: int = Field(
        1, ge=0, le=1024, description="Blocks of unrelated prose beside the blocks of each optimiser step."
    )
    retain_pieces: int = Field(
        6,
        ge=1,
        le=32,
        description="Cut each of these blocks into so many pieces, each read by itself: what a model says soon after a beginning, as with a prompt, is lost first.",
    )
    retain_sure: int = Field(
        3,
        ge=1,
        le=10,
        description="How many times a position counts where the starting model is sure of the next token (probability 0.4 and more): facts sit there. 1: like any other.",
    )
    where: Literal["all", "changed"] = Field(
        "changed",
        description="all trains on every labelled position (the paper); changed only where the generic label differs from what the baseline would say anyway, or where the baseline may well begin an anchor.",
    )


class EvaluationSettings(Section):
    every_steps: int = Field(
        5, ge=0, description="Measure the watched prompts every so many steps of fine-tuning. 0: only at the end."
    )
    watch: int = Field(
        8, ge=0, le=200, description="Prompts to watch while training runs (probes and controls, mixed)."
    )
    completions: int = Field(
        20,
        ge=0,
        le=1000,
        description="Completions to write and grade. With twice as many as there are prompts each is gone on with twice, and so on: a steadier score, for as much more time.",
    )
    completion_tokens: int = Field(40, ge=1, le=1000, description="New tokens in each completion.")
    temperature: float = Field(
        0.7,
        ge=0,
        le=5,
        description="How freely completions are drawn (with the run's seed). 0 always takes the likeliest token, with which small models go round in circles whatever they know.",
    )

    def rounds(self, prompts: int) -> int:
        """How often each of so many prompts is gone on with: as often as all of them fit into `completions`."""
        return max(1, self.completions // max(1, prompts))


class Settings(Section):
    """All settings of one run."""

    preset: str = Field("standard", description="Where the settings started from.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Same seed, same run.")
    model: ModelSettings = ModelSettings()
    text: TextSettings = TextSettings()
    teach: TeachSettings | None = Field(
        None, description="Fine-tune the model on the text first, so that it has something to forget."
    )
    reinforce: ReinforceSettings = ReinforceSettings()
    label: LabelSettings = LabelSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


# What a preset changes from the defaults above; `paper` is WHP §3 and appendix, see the README.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "model": {"mode": "full"},
        "text": {"block_tokens": 512, "held_out": 0.0},
        "reinforce": {
            "epochs": 3, "learning_rate": 3e-6, "batch_blocks": 128, "clip_norm": None,
        },
        "label": {"logits": "raw", "target": "argmax", "margin": 0.0, "inner_alignment": "none", "forbid_anchors": False},
        "finetune": {
            "epochs": 2, "learning_rate": 1e-6, "batch_blocks": 128, "clip_norm": None,
            "retain_weight": 0.0, "retain_blocks": 0, "retain_pieces": 1, "retain_sure": 1, "where": "all",
        },
    },
    "gentle": {"finetune": {"epochs": 2}},
    "standard": {},
    "thorough": {"reinforce": {"epochs": 3, "learning_rate": 6e-4}, "finetune": {"epochs": 8, "retain_weight": 5.0}},
}  # fmt: skip


def make_settings(preset: str = "standard", changes: dict[str, Any] | None = None) -> Settings:
    """Settings of `preset` with `changes` on top.

    Args:
        preset: A key of PRESETS.
        changes: Either nested (`{"label": {"alpha": 3}}`) or dotted (`{"label.alpha": 3}`).

    Raises:
        SettingsError: for an unknown preset, an unknown name or a value out of its limits.
    """
    if preset not in PRESETS:
        raise SettingsError(f"There is no preset '{preset}'.", f"Choose one of: {', '.join(PRESETS)}.")
    values: dict[str, Any] = {"preset": preset}
    for source in (PRESETS[preset], changes or {}):
        for name, value in source.items():
            _merge(values, name, value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(*_explain(error)) from None


def _merge(values: dict[str, Any], name: str, value: Any) -> None:
    head, _, rest = name.partition(".")
    if rest:
        _merge(_section(values, head), rest, value)
    elif isinstance(value, dict):
        for inner, inner_value in value.items():
            _merge(_section(values, head), inner, inner_value)
    else:
        values[head] = value


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(values.get(name), dict):
        values[name] = {}
    return values[name]


def _explain(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"There is no setting '{name}'.", "See `python -m unlearning unlearn --help` for the names."
    return f"Setting {name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}.", "Change that value."
