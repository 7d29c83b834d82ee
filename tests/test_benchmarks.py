"""The standard benchmarks: results read as lm-eval writes them, and the whole way with a task of our own."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.commands import benchmarks as command
from unlearning.errors import DownloadError, InputError, SettingsError
from unlearning.evaluation import benchmarks
from unlearning.evaluation.benchmarks import TASKS, check_tasks, figure, installed, run_benchmarks

NEEDED = pytest.mark.skipif(not installed(), reason="lm-eval is not installed (requirements-benchmarks.txt)")
TASK = """\
task: harbour
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: "{{options}}"
metric_list:
  - metric: acc
  - metric: acc_norm
metadata: {version: 1.0}
"""
ROWS = [
    {"question": f"What rang in the harbour at {hour}?", "options": ["the bell", "a lamp", "a boat"], "answer": 0}
    for hour in range(1, 9)
]


def test_the_papers_tasks_are_the_default():
    assert len(TASKS) == 7 and "mmlu" in benchmarks.ALL_TASKS
    assert {"arc_challenge", "arc_easy", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande"} == set(TASKS)


def test_a_result_as_lm_eval_writes_it():
    result = {"alias": "arc_easy", "acc,none": 0.5, "acc_stderr,none": 0.1}
    result |= {"acc_norm,none": 0.6, "acc_norm_stderr,none": 0.2}
    assert figure(result, {"effective": 50}) == {"value": 0.6, "measure": "acc_norm", "error": 0.2, "count": 50}
    # without one, the standard error of a share: √(p (1 − p) / (n − 1))
    told = figure({"acc,none": 0.5, "acc_stderr,none": "N/A"}, {"effective": 26})
    assert told == {"value": 0.5, "measure": "acc", "error": pytest.approx(0.1), "count": 26}
    with pytest.raises(InputError, match="none of the measures"):
        figure({"alias": "x", "bleu,none": 3.0}, {})


def test_unknown_tasks_are_refused_with_the_nearest():
    with pytest.raises(SettingsError, match=r"no task 'hellaswga'\. Did you mean hellaswag\?"):
        check_tasks(["hellaswga"], TASKS)
    with pytest.raises(SettingsError, match="No task is named"):
        check_tasks([], TASKS)
    check_tasks(["piqa"], TASKS)


def test_without_lm_eval_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(benchmarks, "installed", lambda: False)
    with pytest.raises(SettingsError, match=r"which is not installed\. `pip install -r requirements-benchmarks\.txt`"):
        run_benchmarks(None, None)
    assert (Path(__file__).parents[1] / benchmarks.REQUIREMENTS).is_file()
    with pytest.raises(SettingsError, match="is no folder"):
        run_benchmarks(None, None, task_folder=Path("nowhere"))


@pytest.fixture
def task_folder(tmp_path):
    """A task of our own, whose data lie beside it."""
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "harbour.yaml").write_text(TASK % data)
    return tmp_path


def models():
    """A baseline that was taught the answer, and an unlearned model that was taught another."""
    tokenizer = byte_level_bpe()
    made = {}
    for role, answer in (("baseline", "the bell"), ("unlearned", "a boat")):
        model = tiny_llama(tokenizer)
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(25):
            for row in ROWS[::4]:
                batch = tokenizer(f"Question: {row['question']}\nAnswer: {answer}", return_tensors="pt")
                model(**batch, labels=batch["input_ids"]).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        made[role] = model.eval()

    @contextmanager
    def model_of(role):
        yield made[role]

    return model_of, tokenizer


@NEEDED
@pytest.mark.slow
def test_a_local_task_from_its_file_to_the_figures_of_both_models(task_folder):
    model_of, tokenizer = models()
    told = []
    found = run_benchmarks(
        model_of, tokenizer, ["harbour"], task_folder=task_folder, report=lambda kind, **fields: told.append(fields)
    )
    assert found["harbour"]["baseline"]["value"] == 1.0
    assert found["harbour"]["unlearned"]["value"] == 0.0
    assert found["harbour"]["baseline"]["count"] == len(ROWS)
    assert len(told) == 2
    few = run_benchmarks(model_of, tokenizer, ["harbour"], ["baseline"], task_folder=task_folder, limit=3)
    assert few["harbour"]["baseline"]["count"] == 3
    with pytest.raises(SettingsError, match="no task 'harbor'"):
        run_benchmarks(model_of, tokenizer, ["harbor"], task_folder=task_folder)


@NEEDED
@pytest.mark.slow
def test_data_that_is_not_there(task_folder):
    (task_folder / "rows.jsonl").unlink()
    model_of, tokenizer = models()
    with pytest.raises((DownloadError, SettingsError)):
        run_benchmarks(model_of, tokenizer, ["harbour"], task_folder=task_folder)


def test_the_command_offers_them():
    assert command.benchmarks.__doc__ and "BoolQ" in command.benchmarks.__doc__
