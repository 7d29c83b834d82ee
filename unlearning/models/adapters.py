"""The roles a model plays in a run, and how each is had from as few weights as possible.

    never_taught   the model as it was loaded: it never read the text (only where a taught stage exists)
    baseline       the model that is to forget: the taught one, or the loaded one if nothing was taught
    taught         the loaded model fine-tuned on the text
    reinforced     the baseline fine-tuned further on the text
    unlearned      the baseline fine-tuned on generic labels

With low-rank adapters one copy of the weights serves all of them: a role is one adapter, or none. Adapters of
later roles begin as copies of the taught one, so that "unlearned" is a single adapter over the loaded model.
With full fine-tuning every role that is being used is a model of its own, as in the paper: in float32 while it is
trained, in the format of the loaded one afterwards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unlearning.config import ModelSettings
from unlearning.errors import RunError
from unlearning.models.hardware import Hardware
from unlearning.models.heads import read_rows_together

if TYPE_CHECKING:
    from unlearning.models.low_rank import Played

ROLES = ("never_taught", "baseline", "taught", "reinforced", "unlearned")
SCRATCH = "scratch"  # name of the adapter that is trained over a role and dropped


class Family(Protocol):
    """What the stages ask of either kind of family."""

    tokenizer: Any

    def has(self, role: str) -> bool: ...
    def role(self, role: str) -> Any: ...  # context manager that gives the model in this role, in eval mode
    def strength(self, role: str, factor: float) -> Any: ...  # context manager: the role is read at another strength
    def create(self, role: str) -> Any: ...  # begins `role` as a copy of the baseline; gives the trainable model
    def trainable_copy(self, role: str) -> Any: ...  # context manager: a model to train, dropped afterwards
    def freeze(self, role: str) -> None: ...  # the role has been trained: it is only read from here on
    def save(self, role: str, folder: Path) -> None: ...
    def load(self, role: str, folder: Path) -> None: ...
    def drop(self, role: str) -> None: ...


def resolve(role: str, taught: bool) -> str | None:
    """Name of the adapter (or model) that plays a role; None for the model as it was loaded."""
    if role not in ROLES:
        raise RunError(f"There is no role '{role}'.", f"Choose one of: {', '.join(ROLES)}.")
    if role == "baseline":
        return "taught" if taught else None
    return None if role == "never_taught" else role


class AdapterFamily:
    """One copy of the weights; a role is an adapter over them, or none.

    Args:
        model: The loaded model. peft puts its layers in place; with adapters off they compute what they did.
        tokenizer: Its tokenizer.
        rank: Rank of new adapters. Adapters copied from the taught one have its rank.
    """

    def __init__(self, model: Any, tokenizer: Any, rank: int = 16) -> None:
        self.tokenizer = tokenizer
        self._model, self._rank, self._wrapped = model, rank, False
        self._strengths: dict[str, float] = {}

    def has(self, role: str) -> bool:
        adapter = resolve(role, self._exists("taught"))
        return adapter is None or self._exists(adapter)

    def _exists(self, adapter: str) -> bool:
        return self._wrapped and adapter in self._model.peft_config

    @contextmanager
    def role(self, role: str) -> Iterator[Any]:
        """The model in this role, in eval mode; what it was before is restored afterwards."""
        adapter = resolve(role, self._exists("taught"))
        if adapter is not None and not self._exists(adapter):
            raise RunError(f"This run has no {role} model.", "Run the stage that makes it first.")
        was_training = self._model.training
        self._model.eval()
        try:
            if not self._wrapped:
                yield self._model
            elif adapter is None:
                with self._model.disable_adapter():
                    yield self._model
            else:
                before = self._model.active_adapter
                self._model.set_adapter(adapter)
                try:
                    with self._rows([self._played(role)]):
                        yield self._model
                finally:
                    if self._exists(before):
                        self._model.set_adapter(before)
        finally:
            self._model.train(was_training)

    @contextmanager
    def strength(self, role: str, factor: float) -> Iterator[None]:
        """Inside, `role` is read as baseline + factor · (role − baseline), weight by weight; training sees none of it.

        Args:
            role: One with an adapter of its own.
            factor: 0 gives the baseline, 1 the role as it is.

        Raises:
            RunError: there is no such role, or its adapter is of a kind that cannot be scaled here.
        """
        self._strengths[role] = factor
        try:
            if not self.has(role) or not (factor == 1 or self.mixes([role])):
                raise RunError(f"The {role} model has no adapter that can be scaled.", "Leave its strength at 1.")
            yield
        finally:
            del self._strengths[role]

    def _played(self, role: str) -> Played:
        """What a row in this role goes through."""
        adapter, origin = (resolve(name, self._exists("taught")) for name in (role, "baseline"))
        factor = self._strengths.get(role, 1.0)
        if adapter in (None, origin) or factor == 1:
            return adapter
        return ((adapter, factor), *([(origin, 1 - factor)] if origin else []))

    def mixes(self, roles: Sequence[str]) -> bool:
        """Whether the rows of one batch can play these roles."""
        return self._wrapped and self._known([self._played(role) for role in roles])

    def _known(self, rows: Sequence[Played]) -> bool:
        from unlearning.models.low_rank import can_mix, parts

        return can_mix(self._model, [name for row in rows for name in parts(row)])

    @contextmanager
    def rows(self, roles: Sequence[str]) -> Iterator[Any]:
        """The model for reading, row i of a batch in role `roles[i]`, as `role` would give it.

        Raises:
            RunError: a role that this run has not made, or a model whose rows cannot differ (see `mixes`).
        """
        for role in roles:
            if not self.has(role):
                raise RunError(f"This run has no {role} model.", "Run the stage that makes it first.")
        if not self.mixes(roles):
            raise RunError("This model cannot play several roles at once.", "Ask for one role at a time.")
        was_training = self._model.training
        self._model.eval()
        try:
            with self._rows([self._played(role) for role in roles]):
                yield self._model
        finally:
            self._model.train(was_training)

    def _rows(self, rows: Sequence[Played]) -> Any:
        """The short way of reading; an adapter of a kind that it does not know is left to peft."""
        from unlearning.models.low_rank import rows_play

        return rows_play(self._model, rows) if self._known(rows) else nullcontext()

    def create(self, role: str) -> Any:
        """Begin `role` as a copy of the baseline and make its adapter the trainable one."""
        self.drop(role)
        origin = resolve("baseline", self._exists("taught"))
        if origin is None or origin == role:
            self._add(role, _lora_config(self._rank))
        else:
            from peft import get_peft_model_state_dict, set_peft_model_state_dict

            state = {
                name: weight.clone()
                for name, weight in get_peft_model_state_dict(self._model, adapter_name=origin).items()
            }
            self._add(role, self._model.peft_config[origin])
            set_peft_model_state_dict(self._model, state, adapter_name=role)
        self._model.set_adapter(role)
        return self._model

    @contextmanager
    def trainable_copy(self, role: str) -> Iterator[Any]:
        """A model that begins as the role and is forgotten afterwards; what is trained is a fresh adapter over it."""
        origin, wrapped = resolve(role, self._exists("taught")), self._wrapped
        before = self._model.active_adapter if wrapped else None
        self._add(SCRATCH, _lora_config(self._rank))
        layers = [SCRATCH] if origin is None else [origin, SCRATCH]
        try:
            self._model.base_model.set_adapter(layers)
            for name, weight in self._model.named_parameters():
                weight.requires_grad_(f".{SCRATCH}." in name)
            yield self._model
        finally:
            if before is not None:
                self._model.set_adapter(before)
            self.drop(SCRATCH)

    def _add(self, adapter: str, config: Any) -> None:
        if self._wrapped:
            self._model.add_adapter(adapter, config)
        else:
            from peft import get_peft_model

            self._model = get_peft_model(self._model, config, adapter_name=adapter)
        self._wrap()

    def _wrap(self) -> None:
        from unlearning.models.low_rank import make_lean

        make_lean(self._model)
        self._wrapped = True

    def freeze(self, role: str) -> None:
        """Nothing: an adapter is small, and stays as it was trained."""

    def save(self, role: str, folder: Path) -> None:
        """Write the role's adapter in peft's own format; the folder appears only when it is complete."""
        with _appears_when_complete(folder) as draft:
            self._model.save_pretrained(draft, selected_adapters=[role])
            for file in (draft / role).iterdir():
                file.rename(draft / file.name)
            (draft / role).rmdir()

    def load(self, role: str, folder: Path) -> None:
        """Read an adapter from a folder that `save` or peft wrote."""
        self.drop(role)
        if self._wrapped:
            self._model.load_adapter(folder, adapter_name=role, is_trainable=False)
        else:
            from peft import PeftModel

            self._model = PeftModel.from_pretrained(self._model, folder, adapter_name=role, is_trainable=False)
        self._wrap()

    def drop(self, role: str) -> None:
        if not self._exists(role):
            return
        if len(self._model.peft_config) > 1:
            self._model.delete_adapter(role)
        else:  # peft keeps at least one adapter; the last one is taken off with its wrapper
            self._model, self._wrapped = self._model.unload(), False


def _lora_config(rank: int) -> Any:
    """Adapters on every linear layer but the head, scaled by 2 as is usual, and starting as the identity."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


class FullFamily:
    """Every role a whole model. Needs as many copies of the weights as roles are in use.

    Args:
        model: The loaded model. Roles that are only read are kept in its number format, the one in training in
            float32: steps of 1e-6 vanish in bfloat16.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._models: dict[str | None, Any] = {None: model}

    def has(self, role: str) -> bool:
        return resolve(role, "taught" in self._models) in self._models

    @contextmanager
    def role(self, role: str) -> Iterator[Any]:
        name = resolve(role, "taught" in self._models)
        if name not in self._models:
            raise RunError(f"This run has no {role} model.", "Run the stage that makes it first.")
        model = self._models[name]
        was_training = model.training
        model.eval()
        try:
            yield model
        finally:
            model.train(was_training)

    @contextmanager
    def strength(self, role: str, factor: float) -> Iterator[None]:
        """As `AdapterFamily.strength`, by a model of its own for as long as the block lasts."""
        import copy

        import torch

        with self.role(role) as whole, self.role("baseline") as baseline, torch.no_grad():
            if factor != 1:
                self._models[role] = copy.deepcopy(whole)
                for mine, before in zip(self._models[role].parameters(), baseline.parameters(), strict=True):
                    mine.lerp_(before, 1 - factor)
        try:
            yield
        finally:
            self._models[role] = whole

    def create(self, role: str) -> Any:
        import copy

        origin = None if role == "taught" else resolve("baseline", "taught" in self._models)
        self.drop(role)
        self._models[role] = _in_format(copy.deepcopy(self._models[origin])).requires_grad_(True)
        return self._models[role]

    @contextmanager
    def trainable_copy(self, role: str) -> Iterator[Any]:
        """A copy of the role, to be trained and forgotten."""
        import copy

        with self.role(role) as model:
            twin = _in_format(copy.deepcopy(model))
        yield twin.requires_grad_(True)

    def freeze(self, role: str) -> None:
        """Keep the role in the loaded model's format from here on, as `load` reads it from what `save` wrote."""
        _in_format(self._models[role], self._models[None].dtype).requires_grad_(False)

    def save(self, role: str, folder: Path) -> None:
        with _appears_when_complete(folder) as draft:
            self._models[role].save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)

    def load(self, role: str, folder: Path) -> None:
        """Read a whole model, or an adapter, which is merged into a copy of the loaded one."""
        import copy

        if (folder / "adapter_config.json").exists():
            from peft import PeftModel

            base = _in_format(copy.deepcopy(self._models[None]))  # the sum is rounded once
            self._models[role] = PeftModel.from_pretrained(base, folder).merge_and_unload()
            self.freeze(role)
            return
        from transformers import AutoModelForCausalLM

        origin = self._models[None]
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=origin.dtype).to(origin.device)
        read_rows_together(model)
        self._models[role] = model.eval().requires_grad_(False)

    def drop(self, role: str) -> None:
        self._models.pop(role, None)


def _in_format(model: Any, dtype: Any = None) -> Any:
    """The same model with its weights in another number format, float32 if none is given.

    Its buffers stay as they are: rounded rotary frequencies would misplace every token but the first.
    """
    import torch

    for weight in model.parameters():
        weight.data = weight.data.to(dtype or torch.float32)
    return model


def open_family(settings: ModelSettings, hardware: Hardware, report: Callable[..., None] | None = None) -> Family:
    """Load the model and make the family that its mode asks for.

    Weights that are only read are kept in `hardware.dtype`, which is also what training computes in; the weights in
    training are float32.
    """
    from unlearning.models.loading import load

    model, tokenizer = load(settings.name, hardware, settings.accept_licence, report)
    return FullFamily(model, tokenizer) if settings.mode == "full" else AdapterFamily(model, tokenizer, settings.rank)


@contextmanager
def _appears_when_complete(folder: Path) -> Iterator[Path]:
    """A draft folder that takes the place of `folder` once it is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        for file in draft.rglob("*"):  # on the disk before the stage can be said to be done
            if file.is_file():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
