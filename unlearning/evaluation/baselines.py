"""What it would cost nothing to do instead: the baselines that a method of unlearning has to beat.

    prompted             the baseline behind a note that forbids the topic (Thaker et al. 2024, arXiv 2403.03329)
    filtered             the baseline behind an output filter: no token may complete an anchor
    reinforced_formula   v = b − α · ReLU(r − b) at every step of inference, nothing fine-tuned (WHP eq. 1)

Each is a model that every measurement of this package takes: `split`, `generate` and `score_texts` work on it.
None of them changes a weight, so whoever has the weights has the baseline (`UNDERNEATH`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from unlearning.config import LabelSettings
from unlearning.evaluation.output_filter import OutputFilter
from unlearning.methods.generic_labels import generic_logits
from unlearning.models.encoding import encode_prompt
from unlearning.models.heads import split
from unlearning.models.loading import leading_specials
from unlearning.text.anchors import Dictionary

if TYPE_CHECKING:
    import torch

    from unlearning.models.heads import Backbone, Head

ModelOf = Callable[[str], AbstractContextManager[Any]]  # `with model_of(role) as model:`


@dataclass(frozen=True)
class Baseline:
    """A column of the table. `needs` is the role without which it cannot be had."""

    title: str
    what: str
    needs: str = "baseline"


BASELINES: dict[str, Baseline] = {
    "prompted": Baseline(
        "Only asked to",
        "The baseline reads a note that forbids the topic before everything it is asked. The weights are untouched.",
    ),
    "filtered": Baseline(
        "Filtered",
        "The baseline's words are its own, but no token that would complete an anchor can come out.",
    ),
    "reinforced_formula": Baseline(
        "Formula only",
        "Generic logits, v = b − α · ReLU(r − b), computed from baseline and reinforced model at every token, "
        "instead of fine-tuning on them. Twice the cost of each answer.",
        "reinforced",
    ),
}
# A column that is no weights of its own: what whoever may open the model finds under it.
UNDERNEATH = dict.fromkeys(BASELINES, "baseline")

NOTE = (
    "Note: whoever writes the following text has never heard of {topic}. Nothing from it may be mentioned, and none "
    "of its names, places and events.\n\n"
)


def with_baselines(
    model_of: ModelOf, tokenizer: Any, dictionary: Dictionary, topic: str, label: LabelSettings | None = None
) -> ModelOf:
    """`model_of` that knows the columns of BASELINES too.

    Args:
        model_of: Gives the model of a role, as `Family.role`.
        tokenizer: Of the models.
        dictionary: The anchors that the filter blocks.
        topic: What the note forbids, as in "Alice in Wonderland"; see `attack_prompts.topic_of`.
        label: α, margin and kind of logits of the formula; the default settings if None.
    """
    chosen, blocked = label or LabelSettings(), OutputFilter(dictionary, tokenizer)

    @contextmanager
    def extended(role: str) -> Iterator[Any]:
        if role == "reinforced_formula":
            yield FormulaModel(model_of, chosen)
        elif role in BASELINES:
            with model_of("baseline") as model:
                if role == "prompted":
                    yield PromptedModel(model, tokenizer, NOTE.format(topic=topic))
                else:
                    yield FilteredModel(model, blocked)
        else:
            with model_of(role) as model:
                yield model

    return extended


class _Outside:
    """A model seen from outside: what it is asked of goes to the one inside, its two halves are another matter."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def config(self) -> Any:
        return self.inner.config

    @property
    def generation_config(self) -> Any:
        return getattr(self.inner, "generation_config", None)

    @property
    def device(self) -> Any:
        return next(self.inner.parameters()).device

    @property
    def training(self) -> bool:
        return bool(self.inner.training)

    def parameters(self) -> Iterator[Any]:
        return iter(self.inner.parameters())

    def modules(self) -> Iterator[Any]:
        return iter(self.inner.modules())

    def eval(self) -> Any:
        self.inner.eval()
        return self

    def get_output_embeddings(self) -> Any:
        return self.inner.get_output_embeddings()


class PromptedModel(_Outside):
    """The model with a note before all that it reads.

    Args:
        inner: The model.
        tokenizer: Its tokenizer.
        note: What stands before every text; a special token that opens a text opens the note.
    """

    def __init__(self, inner: Any, tokenizer: Any, note: str) -> None:
        super().__init__(inner)
        self._note, self._specials = encode_prompt(tokenizer, note), leading_specials(tokenizer)

    def halves(self, float_head: bool = False) -> tuple[Backbone, Head]:
        backbone, head = split(self.inner, float_head)
        shift, specials = len(self._note), len(self._specials)

        def behind(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **more: Any) -> torch.Tensor:
            import torch

            ids, mask = self._behind(input_ids, attention_mask)
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            hidden = backbone(ids, mask, position_ids=positions)  # [batch, note + time, width]
            own = hidden[:, shift:]
            if not specials:
                return own
            # what the special token predicts is what comes first in the text: after the note
            return torch.cat([hidden[:, shift - 1 : shift].expand(-1, specials, -1), own[:, specials:]], dim=1)

        return behind, head

    def _behind(self, ids: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Note and row; the row's own opening special tokens are there and not looked at."""
        import torch

        mask = torch.ones_like(ids) if mask is None else mask.clone()
        first = mask.argmax(-1)  # where padding on the left ends
        for place in range(len(self._specials)):
            mask[torch.arange(len(ids)), (first + place).clamp(max=ids.shape[1] - 1)] = 0
        note = torch.tensor([self._note], device=ids.device).expand(len(ids), -1)
        return torch.cat([note, ids], -1), torch.cat([torch.ones_like(note), mask], -1)

    def __call__(
        self, input_ids: Any, attention_mask: Any, position_ids: Any = None, past_key_values: Any = None, **more: Any
    ) -> Any:
        """As a transformers model does it, for `generate`; the cache carries the mask of all that was read."""
        import torch

        if past_key_values is None:
            ids, mask = self._behind(input_ids, attention_mask)
            cache = None
        else:
            cache, mask = past_key_values
            ids, mask = input_ids, torch.cat([mask, attention_mask[:, -input_ids.shape[1] :]], -1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.inner(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, **more)
        return SimpleNamespace(logits=output.logits, past_key_values=(output.past_key_values, mask))


class FilteredModel(_Outside):
    """The model behind an output filter; its probabilities are those of what can still come out."""

    def __init__(self, inner: Any, blocked: OutputFilter) -> None:
        super().__init__(inner)
        self._blocked = blocked

    def halves(self, float_head: bool = False) -> tuple[Backbone, Head]:
        """The state of the filter travels with the hidden states, as further numbers of their width."""
        backbone, head = split(self.inner, float_head)

        def marked(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **more: Any) -> torch.Tensor:
            import torch

            hidden = backbone(input_ids, attention_mask, **more)
            states = [self._blocked.states(row) for row in input_ids.tolist()]
            digits = self._blocked.digits(torch.tensor(states, device=hidden.device))  # [batch, time, DIGITS]
            return torch.cat([hidden, digits.to(hidden.dtype)], dim=-1)

        def filtered(hidden: torch.Tensor) -> torch.Tensor:
            own, states = self._blocked.undigits(hidden)
            return self._blocked.apply(head(own), states)

        return marked, filtered

    def __call__(self, input_ids: Any, past_key_values: Any = None, **more: Any) -> Any:
        """As a transformers model does it, for `generate`; the cache carries what was read."""
        import torch

        cache, read = past_key_values or (None, input_ids[:, :0])
        output = self.inner(input_ids=input_ids, past_key_values=cache, **more)
        read = torch.cat([read, input_ids], -1)
        states = torch.tensor([self._blocked.state(row) for row in read.tolist()], device=read.device)  # [batch]
        logits = self._blocked.apply(output.logits[:, -1], states)[:, None]
        return SimpleNamespace(logits=logits, past_key_values=(output.past_key_values, read))


class FormulaModel(_Outside):
    """v = b − α · ReLU(r − b), from two roles of one family that take turns.

    Args:
        model_of: Gives the roles "baseline" and "reinforced".
        settings: α, margin, raw or centred logits.
    """

    def __init__(self, model_of: ModelOf, settings: LabelSettings) -> None:
        with model_of("baseline") as model:
            super().__init__(model)
        self._model_of, self._settings = model_of, settings

    def halves(self, float_head: bool = True) -> tuple[Backbone, Head]:
        """Both roles' hidden states side by side; the difference needs logits in float32."""
        heads: dict[str, Any] = {}
        for role in ("baseline", "reinforced"):
            with self._model_of(role) as model:
                heads[role] = split(model, float_head=True)[1]

        def both(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **more: Any) -> torch.Tensor:
            import torch

            found = []
            for role in heads:
                with self._model_of(role) as model:
                    found.append(split(model)[0](input_ids, attention_mask, **more))
            return torch.cat(found, dim=-1)

        def formula(hidden: torch.Tensor) -> torch.Tensor:
            b, r = (heads[role](half) for role, half in zip(heads, hidden.chunk(2, dim=-1), strict=True))
            return self._generic(b, r)

        return both, formula

    def _generic(self, baseline: torch.Tensor, reinforced: torch.Tensor) -> torch.Tensor:
        chosen = self._settings
        return generic_logits(baseline, reinforced, chosen.alpha, chosen.logits == "centred", chosen.margin)

    def __call__(self, past_key_values: Any = None, **more: Any) -> Any:
        """As a transformers model does it, for `generate`; one cache a role."""
        outputs = []
        for role, cache in zip(("baseline", "reinforced"), past_key_values or (None, None), strict=True):
            with self._model_of(role) as model:
                outputs.append(model(past_key_values=cache, **more))
        logits = self._generic(*(output.logits.float() for output in outputs))
        return SimpleNamespace(logits=logits, past_key_values=tuple(output.past_key_values for output in outputs))
