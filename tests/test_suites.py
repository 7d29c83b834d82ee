"""An evaluation as a run of its own: made, done part by part, stopped, resumed; what it says of a tiny real run."""

import json
import shutil

import pytest
from fake_endpoint import broken, good, serve
from finished_run import finished  # noqa: F401

from unlearning.config import make_settings
from unlearning.errors import RunDamagedError, RunError, SettingsError
from unlearning.evaluation import suites
from unlearning.evaluation.metrics_table import METRICS
from unlearning.evaluation.questions import Question, dump_questions, load_questions
from unlearning.evaluation.suites_run import execute
from unlearning.evaluation.verdicts import UNASKED
from unlearning.runs import store
from unlearning.runs.durable import read_json, write_json
from unlearning.runs.events import EventWriter, read
from unlearning.runs.scheduler import continue_run
from unlearning.runs.store import State
from unlearning.worker import EXECUTORS, load_executor, work

CORE = {"parts": list(suites.PARTS)}  # without the attacks, which are tested by themselves
ONE_ATTACK = {"parts": [*suites.PARTS, *list(suites.attacks("quick"))[:1]]}
QUESTIONS = [Question("Who had a watch?", ("the rabbit", "the queen", "a cook", "a pig"), 0, "A watch had")]
NEIGHBOURS = [Question("Who wrote of a lost world?", ("Doyle", "Austen"), 0)]
ROLES = ["never_taught", "baseline", "unlearned"]


@pytest.fixture(scope="module")
def workspace(finished, tmp_path_factory):
    """A workspace of its own with the finished run in it."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(finished, folder / "runs" / "of-this-run")
    return folder


@pytest.fixture(scope="module")
def of(workspace):
    return workspace / "runs" / "of-this-run"


@pytest.fixture(scope="module")
def evaluated(workspace, of):
    """A quick evaluation, done by a worker."""
    before = {path: path.stat().st_mtime_ns for path in of.rglob("*") if path.is_file()}
    inputs = {"questions.json": dump_questions(QUESTIONS)}
    run = suites.create_evaluation(workspace, of, "quick", inputs=inputs, extra=ONE_ATTACK)
    assert work(run.folder) == 0
    assert {path: path.stat().st_mtime_ns for path in of.rglob("*") if path.is_file()} == before
    return run.folder


def untold(kind, **fields):
    pass


def test_every_kind_of_run_has_somebody_who_does_it(monkeypatch):
    monkeypatch.delenv("UNLEARNING_EXECUTOR", raising=False)
    assert load_executor(suites.KIND) is execute
    assert {"unlearn", "evaluation"} <= set(EXECUTORS)


def test_what_an_evaluation_says(evaluated, of):
    found = read_json(evaluated / suites.RESULT)
    assert found["format"] == 1 and found["of"] == of.name and found["suite"] == "quick" and found["complete"]
    assert found["roles"] == ROLES
    for role in ROLES:
        assert set(found["metrics"][role]) <= set(METRICS)
        assert {"probability_familiarity", "rouge_l", "question_accuracy", "kl_retain"} <= set(found["metrics"][role])
    assert found["metrics"]["baseline"]["kl_retain"]["value"] == pytest.approx(0, abs=1e-6)
    figure = found["metrics"]["unlearned"]["perplexity_forget"]
    assert figure["low"] < figure["value"] < figure["high"] and figure["rise"]["low"] < figure["rise"]["high"]
    assert set(found["verdicts"]) == {"forgotten", "intact"}
    assert {"probes", "controls", "completions", "passages", "questions", "divergence"} <= set(found["evidence"])
    assert found["evidence"]["questions"]["unlearned"][0]["answer"] == "the rabbit"
    assert all(row["perfect"] or row["metric"].startswith("perplexity") for row in found["table"]["rows"])
    told = store.load(evaluated)
    assert told.state is State.SUCCEEDED and told.summary["headline"] == found["headline"]
    kinds = [(event["kind"], event.get("stage"), event.get("state")) for event in read(evaluated).events]
    assert [attack["attack"] for attack in found["attacks"]] == ONE_ATTACK["parts"][-1:]
    for part in ONE_ATTACK["parts"]:
        assert ("stage", part, "started") in kinds and ("stage", part, "done") in kinds


def test_what_the_run_asked_itself_is_taken_over_and_equal_to_asking_again(evaluated, workspace, of, tmp_path):
    own = read_json(of / "stages" / "evaluate" / "stage.json")["evaluation"]["metrics"]
    found = read_json(evaluated / suites.RESULT)["metrics"]
    stage = read_json(evaluated / "stages" / "familiarity" / "stage.json")
    assert stage["taken_over"] == ROLES
    for role in ROLES:
        for name in ("probability_familiarity", "perplexity_unrelated", "fluent_share"):
            assert found[role][name] == own[role][name]
    # Without the run's own evaluation the same comes out.
    elsewhere = tmp_path / "runs" / of.name
    shutil.copytree(of, elsewhere)
    shutil.rmtree(elsewhere / "stages" / "evaluate")
    run = suites.create_evaluation(tmp_path, elsewhere, "quick", extra=CORE)
    execute(run.folder, untold, lambda: False)
    assert read_json(run.folder / "stages" / "familiarity" / "stage.json")["taken_over"] == []
    again = read_json(run.folder / suites.RESULT)["metrics"]
    for role in ROLES:
        for name in ("probability_familiarity", "completion_familiarity", "fluent_share"):
            assert again[role][name]["value"] == pytest.approx(own[role][name]["value"], abs=1e-6)


def test_it_can_be_stopped_after_any_role_and_goes_on_there(workspace, of, evaluated):
    inputs = {"questions.json": dump_questions(QUESTIONS)}
    run = suites.create_evaluation(workspace, of, "quick", inputs=inputs, extra=CORE)
    stops, asked = 0, []
    while True:
        patience = iter([False] * 4)
        with EventWriter(run.folder) as events:

            def report(kind, events=events, **fields):
                if kind == "step":
                    asked.append((fields["stage"], fields["role"]))
                events(kind, **fields)

            if execute(run.folder, report, lambda patience=patience: next(patience, True))["state"] == "succeeded":
                break
        stops += 1
        assert not read_json(run.folder / suites.RESULT)["complete"]
    assert stops >= 3
    # A role whose answer was the last before a stop is told of again, and not asked again: its file is there.
    assert {part for part, _ in asked} == set(suites.PARTS)
    first, second = (read_json(folder / suites.RESULT) for folder in (evaluated, run.folder))
    assert first["metrics"] == second["metrics"]
    assert second["evidence"].items() <= first["evidence"].items()


def test_other_probes_and_settings_are_asked_anew(workspace, of):
    probes = json.dumps([{"prompt": "The Cheshire", "targets": [" Cat"]}])
    settings = make_settings("standard", {"evaluation.completions": 2, "evaluation.completion_tokens": 3}).evaluation
    inputs = {"probes.json": probes}
    run = suites.create_evaluation(workspace, of, "quick", inputs=inputs, evaluation=settings, extra=CORE)
    execute(run.folder, untold, lambda: False)
    found = read_json(run.folder / suites.RESULT)
    assert [row["prompt"] for row in found["evidence"]["probes"]["unlearned"]] == ["The Cheshire"]
    assert len(found["evidence"]["completions"]["unlearned"]) == 2
    assert "controls" not in found["evidence"]
    assert read_json(run.folder / "stages" / "familiarity" / "stage.json")["taken_over"] == []


def test_which_runs_cannot_be_evaluated(workspace, of, evaluated, tmp_path):
    with pytest.raises(RunError, match="is an evaluation itself"):
        suites.create_evaluation(workspace, evaluated, "quick")
    with pytest.raises(SettingsError, match="no suite 'slow'"):
        suites.create_evaluation(workspace, of, "slow")
    gone = suites.create_evaluation(workspace, of, "quick")
    write_json(gone.folder / "config.json", read_json(gone.folder / "config.json") | {"of": "nobody"})
    with pytest.raises(RunError, match="Run nobody, which is to be evaluated, is not in"):
        execute(gone.folder, untold, lambda: False)
    shutil.rmtree(gone.folder)


@pytest.mark.parametrize("entry", ["of", "parts"])
def test_an_evaluation_that_came_from_elsewhere_leaves_its_folder_nowhere(tmp_path, entry):
    settings = make_settings("standard", {"model.name": "random:tiny"})
    told = store.create(tmp_path / "another", settings, {"text.txt": "Somebody else's."})
    own = store.create(tmp_path / "own", settings, {"text.txt": "Mine."})
    hostile = {"of": f"../../another/runs/{told.id}"} if entry == "of" else {"parts": ["../../../evil"]}
    extra = {"of": own.id, "suite": "quick", "parts": ["nothing"]} | hostile
    run = store.create(tmp_path / "own", settings, {"text.txt": "Mine."}, kind=suites.KIND, extra=extra)
    with pytest.raises(RunDamagedError, match=f"in '{entry}', which may lead out of the run"):
        execute(run.folder, untold, lambda: False)
    assert "may lead out" in run.problem and not list(tmp_path.rglob("evil"))


def test_evaluations_of_a_run_and_the_newest(workspace, of, evaluated):
    runs = suites.evaluations_of(workspace, of.name)
    assert evaluated in {run.folder for run in runs}
    numbers = [run.number for run in runs]
    assert numbers == sorted(numbers, reverse=True)
    newest = suites.newest_result(workspace, of.name, "quick")
    assert newest["evaluation"] in {run.id for run in runs} and newest["complete"]
    assert suites.newest_result(workspace, of.name, "full") == {}
    assert suites.newest_result(workspace, "nobody") == {}


def test_how_long_it_takes_is_known_where_the_machine_was_measured(of, workspace, monkeypatch):
    assert suites.expected_seconds(of, "quick") is None
    from unlearning.runs.speeds import Speeds

    known = Speeds(100, 400, 500, 80, 0.1, 5, 1e9, 1e9, 1e6, 1e6, 4, 2)
    monkeypatch.setattr("unlearning.runs.speeds.known_speeds", lambda *_: known)
    assert 10 < suites.expected_seconds(of, "quick") < suites.expected_seconds(of, "full")
    run = suites.create_evaluation(workspace, of, "quick")
    assert list(run.config["budget"]["stages"]) == suites.plan("quick")
    shutil.rmtree(run.folder)


def test_a_run_without_questions_gets_some_from_its_text(of, workspace):
    run = suites.create_evaluation(workspace, of, "quick")
    made = load_questions(run.folder / "questions.json")
    assert made and all(len(question.options) == 4 for question in made)
    shutil.rmtree(run.folder)


def test_a_scenarios_questions_come_with_its_own_text_alone(tmp_path):
    from unlearning.scenarios import inputs_of, load_scenario

    scenario = load_scenario("wonderland")
    inputs = inputs_of(scenario)
    inputs.pop("taught")
    settings = make_settings("standard", {"model.name": "random:tiny"})
    own = store.create(tmp_path, settings, inputs, title="T", extra={"scenario": "wonderland"})
    assert set(suites.questions_of(own.folder)) == {"questions.json", "neighbours.json"}
    inputs |= {"text.txt": "Another."}
    other = store.create(tmp_path, settings, inputs, title="T", extra={"scenario": "wonderland"})
    assert set(suites.questions_of(other.folder)) == {"neighbours.json"}
    assert suites.questions_of(store.create(tmp_path, settings, inputs, title="T").folder) == {}
    made = suites.create_evaluation(tmp_path, own.folder, "quick")
    assert len(load_questions(made.folder / "questions.json")) >= 60
    assert made.config["scenario"] == "wonderland"


def test_a_text_of_ones_own_has_neighbours_where_questions_about_them_are_given(workspace, of, evaluated):
    without = read_json(evaluated / suites.RESULT)
    assert "neighbour_probability" not in without["metrics"]["unlearned"]
    assert without["verdicts"]["intact"]["text"].endswith(UNASKED)
    inputs = {"neighbours.json": dump_questions(NEIGHBOURS)}
    parts = {"parts": ["familiarity", "neighbours"]}
    run = suites.create_evaluation(workspace, of, "quick", inputs=inputs, extra=parts)
    execute(run.folder, untold, lambda: False)
    found = read_json(run.folder / suites.RESULT)
    assert [row["prompt"] for row in found["evidence"]["neighbours"]["unlearned"]] == ["Who wrote of a lost world?"]
    assert found["verdicts"]["intact"]["checks"][-1]["name"] == "neighbour_probability"
    assert UNASKED not in found["verdicts"]["intact"]["text"]
    shutil.rmtree(run.folder)


def test_part_titles_are_words():
    for part in suites.plan("full"):
        assert suites.part_title(part) != part
    assert suites.part_title("nothing") == "nothing"


def test_a_copy_looks_at_the_same_run_and_no_evaluation_takes_more_steps(evaluated, workspace, of):
    copy = store.copy(evaluated, workspace)
    assert copy.config["kind"] == suites.KIND
    for key in ("of", "suite", "parts", "columns"):
        assert copy.config[key] == store.load(evaluated).config[key]
    shutil.rmtree(copy.folder)
    with pytest.raises(RunError, match="fine-tunes nothing"):
        continue_run(evaluated, 3)


def test_a_further_model_is_measured_beside_those_of_the_run(workspace, of, evaluated):
    inputs = {"questions.json": dump_questions(QUESTIONS)}
    run = suites.create_evaluation(workspace, of, "quick", inputs=inputs, other="random:tiny", extra=CORE)
    execute(run.folder, untold, lambda: False)
    found = read_json(run.folder / suites.RESULT)
    assert found["roles"] == [*ROLES, "other"]
    # The run's own model was the same before it was taught anything.
    for name, figure in found["metrics"]["never_taught"].items():
        assert found["metrics"]["other"][name]["value"] == pytest.approx(figure["value"], rel=1e-4, abs=1e-6), name
    assert found["table"]["roles"][:4] == ["never_taught", "baseline", "unlearned", "other"]


def test_columns_are_asked_half_of_the_passages_that_the_models_are_asked(workspace, of):
    run = suites.create_evaluation(workspace, of, "quick", columns=["filtered"], extra={"parts": ["passages"]})
    execute(run.folder, untold, lambda: False)
    asked = read_json(run.folder / suites.RESULT)["evidence"]["passages"]
    prompts = {role: [row["prompt"] for row in rows] for role, rows in asked.items()}
    assert len(prompts["baseline"]) > 2 and prompts["unlearned"] == prompts["baseline"]
    assert prompts["filtered"] == prompts["baseline"][::2]
    shutil.rmtree(run.folder)


# --- with a language model ---

ASKED = {"question": "Whom does nobody know?", "options": ["Alice", "Tom Wood", "Ned Moss", "Sam Reed"], "answer": 0}
ASKED_PARTS = {"parts": [suites.WRITTEN, "familiarity", "questions", suites.JUDGED]}


def helpful(body):
    """A language model that writes a question about any passage and grades any completion."""
    if body["messages"][0]["role"] == "system":
        return good('{"reason": "It names her.", "grade": 3}')
    return good(json.dumps({"questions": [ASKED]}))


@pytest.fixture
def set_up(monkeypatch):
    def at(server):
        monkeypatch.setenv("UNLEARNING_LLM_URL", server.url)
        monkeypatch.setenv("UNLEARNING_LLM_MODEL", "any")

    return at


def test_a_language_model_writes_before_all_else_where_there_are_no_questions_and_grades_after_it(of, workspace):
    alone = suites.create_evaluation(workspace, of, "quick", llm=True)
    assert alone.config["parts"] == [suites.WRITTEN, *suites.plan("quick"), suites.JUDGED] and alone.config["llm"]
    own = {"questions.json": dump_questions(QUESTIONS)}
    asked = suites.create_evaluation(workspace, of, "quick", inputs=own, llm=True)
    assert asked.config["parts"] == [*suites.plan("quick"), suites.JUDGED]
    plain = suites.create_evaluation(workspace, of, "quick")
    assert plain.config["parts"] == suites.plan("quick") and "llm" not in plain.config
    assert all(suites.part_title(part) != part for part in suites.WITH_LLM)
    for run in (alone, asked, plain):
        shutil.rmtree(run.folder)


def test_its_questions_are_asked_and_its_grades_stand_beside_the_rules(of, workspace, set_up):
    run = suites.create_evaluation(workspace, of, "quick", llm=True, extra=ASKED_PARTS)
    with serve(helpful) as server:
        set_up(server)
        assert work(run.folder) == 0
        asked = len(server.requests)
        execute(run.folder, untold, lambda: False)  # what is done is not asked again
        assert len(server.requests) == asked
    found = read_json(run.folder / suites.RESULT)
    assert [row["prompt"] for row in found["evidence"]["questions"]["unlearned"]] == [ASKED["question"]]
    for role in ROLES:
        rows = [row for row in found["evidence"]["completions"][role] if row["kind"] == "probe"]
        assert rows and all(row["judged"] == 3 and row["reason"] == "It names her." for row in rows)
        assert found["metrics"][role]["judged_familiarity"]["value"] == 5
    assert "judged_familiarity" in {row["metric"] for row in found["table"]["rows"]}
    shutil.rmtree(run.folder)


@pytest.mark.parametrize("bad", [broken(401), broken(400), good("I would rather not."), None])
def test_a_language_model_that_does_not_answer_costs_its_part_alone(of, workspace, set_up, bad):
    run = suites.create_evaluation(workspace, of, "quick", llm=True, extra=ASKED_PARTS)
    told = []
    with serve(bad or helpful) as server:
        if bad:
            set_up(server)
        end = execute(run.folder, lambda kind, **fields: told.append((kind, fields)), lambda: False)
    assert end["state"] == "succeeded"
    found = read_json(run.folder / suites.RESULT)
    assert found["complete"] and "judged_familiarity" not in found["metrics"]["unlearned"]
    assert len(found["evidence"]["questions"]["unlearned"]) > 1  # those made from the text
    warnings = [fields["message"] for kind, fields in told if kind == "warning"]
    assert sum("wrote no questions" in words for words in warnings) == 1
    assert sum("grades no more completions" in words for words in warnings) == 1  # and no other role is tried
    if bad is None:
        assert "None is set up where this evaluation works." in warnings[-1] and server.requests == []
    shutil.rmtree(run.folder)
