"""The standard benchmarks, as EleutherAI's lm-evaluation-harness runs them; the paper's seven, and MMLU.

lm-eval is an optional requirement (`requirements-benchmarks.txt`). Its data sets come from the Hugging Face hub; tasks
of one's own can be given as a folder of its YAML files, and need no network where their data lie beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from unlearning.errors import DownloadError, InputError, SettingsError

REQUIREMENTS = "requirements-benchmarks.txt"
# WHP §4, and the broad test that later work adds.
TASKS = ("arc_challenge", "arc_easy", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande")
ALL_TASKS = (*TASKS, "mmlu")
MEASURES = ("acc_norm", "acc", "exact_match", "f1")  # of those that a task has, the first is shown
ROLES = ("baseline", "unlearned")

ModelOf = Callable[[str], AbstractContextManager[Any]]


def run_benchmarks(
    model_of: ModelOf,
    tokenizer: Any,
    tasks: Sequence[str] = TASKS,
    roles: Sequence[str] = ROLES,
    *,
    task_folder: Path | None = None,
    limit: int | None = None,
    fewshot: int | None = None,
    batch: int = 8,
    report: Callable[..., None] = lambda kind, **fields: None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every role on every task.

    Args:
        model_of: `with model_of(role) as model:`.
        tokenizer: Of the models.
        tasks: Names that lm-eval knows, or of task files in `task_folder`.
        roles: Which models.
        task_folder: Of further tasks, as lm-eval's YAML.
        limit: At most so many questions of each task.
        fewshot: Examples before each question; None: as the task says.
        batch: Rows in one forward pass.
        report: Told `note` when a role begins.

    Returns:
        JSON: task → role → {"value", "error" (standard), "measure" (acc_norm, acc, …), "count"}.

    Raises:
        SettingsError: lm-eval is not installed, or knows no such task.
        DownloadError: a task's data cannot be had.
    """
    known, lm_class, evaluate = _lm_eval(task_folder)
    check_tasks(tasks, known.all_tasks)
    found: dict[str, dict[str, dict[str, Any]]] = {task: {} for task in tasks}
    for role in roles:
        report("note", message=f"The {role} model answers {', '.join(tasks)} …")
        with model_of(role) as model:
            lm = lm_class(pretrained=model, tokenizer=tokenizer, batch_size=batch)
            try:
                results = evaluate(
                    lm, tasks=list(tasks), num_fewshot=fewshot, limit=limit, task_manager=known, log_samples=False,
                    bootstrap_iters=0, verbosity="ERROR",
                )  # fmt: skip
            except (ConnectionError, OSError, ValueError) as error:
                raise DownloadError(f"The tasks could not be run: {_first_line(error)}", _mend(error)) from None
        for task in tasks:
            found[task][role] = figure(results["results"][task], results.get("n-samples", {}).get(task, {}))
    return found


def figure(result: Mapping[str, Any], samples: Mapping[str, Any]) -> dict[str, Any]:
    """One task's result as lm-eval gives it ("acc,none": …, "acc_stderr,none": …) → the measure that is shown.

    Raises:
        InputError: it has none of MEASURES.
    """
    by_name = {key.split(",")[0]: value for key, value in result.items() if isinstance(value, int | float)}
    measure = next((name for name in MEASURES if name in by_name), None)
    if measure is None:
        raise InputError(f"The task {result.get('alias', '')} has none of the measures {', '.join(MEASURES)}.",
                         "Give its metric_list one of them.")  # fmt: skip
    error = by_name.get(f"{measure}_stderr")
    found: dict[str, Any] = {"value": float(by_name[measure]), "measure": measure}
    if error is None and measure in ("acc", "acc_norm", "exact_match") and samples.get("effective"):
        n = int(samples["effective"])
        error = (found["value"] * (1 - found["value"]) / max(1, n - 1)) ** 0.5
    if error is not None:
        found["error"] = float(error)
    return found | ({"count": int(samples["effective"])} if samples.get("effective") else {})


def check_tasks(tasks: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that nobody knows.

    Raises:
        SettingsError: with the nearest known one.
    """
    import difflib

    if not tasks:
        raise SettingsError("No task is named.", f"Name some of: {', '.join(ALL_TASKS)}.")
    for task in tasks:
        if task not in known:
            close = difflib.get_close_matches(task, list(known), n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The paper's are: {', '.join(TASKS)}."
            raise SettingsError(f"lm-eval knows no task '{task}'.", hint)


def installed() -> bool:
    """Whether lm-eval is here."""
    import importlib.util

    return importlib.util.find_spec("lm_eval") is not None


def _lm_eval(task_folder: Path | None) -> tuple[Any, Any, Any]:
    """lm-eval's task manager, model class and evaluation.

    Raises:
        SettingsError: it is not installed, or the folder is none.
    """
    if task_folder is not None and not task_folder.is_dir():
        raise SettingsError(f"{task_folder} is no folder.", "Give the folder that the YAML files lie in.")
    if not installed():
        raise SettingsError(
            "The benchmarks need lm-eval, which is not installed.", f"`pip install -r {REQUIREMENTS}` brings it."
        )
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(task_folder) if task_folder else None), HFLM, simple_evaluate


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0][:200].rstrip('.')}." if lines else f"{type(error).__name__}."


def _mend(error: Exception) -> str:
    offline = isinstance(error, ConnectionError) or "hub" in str(error).lower() or "connect" in str(error).lower()
    return "Their data sets come from the Hugging Face hub: is there a network?" if offline else "See what it says."
