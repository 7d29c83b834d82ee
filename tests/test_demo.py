"""The demo from beginning to end, as a user starts it, with the real default model; on fewer tokens than by default.

Limits are wider than what the presets reach: this is to see that everything works together.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs_for_tests import processes_of, wait_until

ROOT = Path(__file__).parents[1]
FEWER = [
    "--text-max-tokens", "1024", "--reinforce-epochs", "2", "--finetune-epochs", "3",
    "--evaluation-completions", "6", "--evaluation-completion-tokens", "20", "--no-budget",
]  # fmt: skip
ROLES = ["never_taught", "baseline", "reinforced", "unlearned"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demo wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "unlearning", "demo", "--json", folder / "out.json", *FEWER],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
        env=os.environ | {"UNLEARNING_WORKSPACE": str(folder / "workspace")},
    )  # fmt: skip
    for process in processes_of(folder, "unlearning.runs.scheduler"):
        process.kill()
    assert wait_until(lambda: not processes_of(folder), 10)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads((folder / "out.json").read_text()), done.stdout


def figure(demo, role, name):
    return demo[0]["evaluation"]["metrics"][role][name]["value"]


@pytest.mark.slow
def test_the_table_has_every_role_and_the_figures_that_matter(demo):
    told, shown = demo
    assert told["state"] == "succeeded"
    table = told["evaluation"]["table"]
    assert table["roles"] == ROLES
    rows = {row["metric"]: row for row in table["rows"]}
    wanted = {"probability_familiarity", "completion_familiarity", "perplexity_forget", "perplexity_held_out"}
    assert wanted | {"perplexity_unrelated", "control_probability", "fluent_share"} <= set(rows)
    for row in rows.values():
        assert set(row["cells"]) == set(ROLES), row["metric"]
        assert row["title"] in shown


@pytest.mark.slow
def test_the_taught_model_knows_the_text_and_the_untaught_one_does_not(demo):
    assert figure(demo, "baseline", "probability_familiarity") >= 0.40
    assert figure(demo, "never_taught", "probability_familiarity") <= 0.20


@pytest.mark.slow
def test_it_forgets_even_in_this_short_time_and_the_rest_stays(demo):
    def pair(name):
        return figure(demo, "baseline", name), figure(demo, "unlearned", name)

    before, after = pair("probability_familiarity")
    assert after < 0.5 * before
    before, after = pair("control_probability")
    assert abs(after - before) < 0.15
    before, after = pair("perplexity_unrelated")
    assert after < 1.15 * before


@pytest.mark.slow
def test_completions_stand_side_by_side(demo):
    told, shown = demo
    assert len(told["completions"]) == 6
    for row in told["completions"]:
        assert row["baseline"]["text"].strip()
        assert row["unlearned"]["text"].strip()
    assert told["completions"][0]["prompt"] in " ".join(shown.split())


@pytest.mark.slow
def test_the_run_is_kept_and_took_little(demo):
    told, _ = demo
    assert 0 < told["spent"]["peak_bytes"] < 4e9
    folder = Path(told["folder"])
    for file in ("config.json", "text.txt", "anchors.json", "events.jsonl", "result.json", "taught/recipe.json"):
        assert (folder / file).is_file()
    assert (folder / "stages" / "finetune" / "unlearned" / "adapter_model.safetensors").is_file()
