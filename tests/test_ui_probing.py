"""The Probe screen: what it makes of a result, what it hands out, which evaluations it finds and follows."""

import csv
import io
import json
import math

import pytest
from evaluation_for_tests import HOSTILE, QUESTIONS, ROLES, example, make_evaluation
from finished_run import DRAFT
from tokenizers_for_tests import byte_level_bpe
from ui_for_tests import make_context

from unlearning.config import make_settings
from unlearning.errors import ModelError, RunError, RunNotFoundError, SettingsError
from unlearning.evaluation import suites
from unlearning.runs import queue, store
from unlearning.runs.events import EventWriter
from unlearning.text.prompts import Probe, load_completions, load_probes, save_probes
from unlearning.ui import probing, probing_many, probing_runs
from unlearning.ui.follow import owner_of
from unlearning.ui.probing_files import make_file, safe
from unlearning.ui.probing_view import evidence, perfect, view

OTHER = "b" * 24


@pytest.fixture
def finished(tmp_path):
    """The folder of a run that has an unlearned model, as far as anybody can see who does not open it."""
    extra = {"owner": owner_of(DRAFT)}
    run = store.create(tmp_path, make_settings(), {"text.txt": "A text."}, title=f"Alice {HOSTILE}", extra=extra)
    (run.folder / "stages" / "finetune" / "unlearned").mkdir(parents=True)
    (run.folder / "result.json").write_text(json.dumps({"state": "succeeded"}), encoding="utf-8")
    return run.folder


def question(name, found=None):
    return next(one for one in (found or view(example()))["questions"] if one["id"] == name)


# --- two questions ---


def test_each_figure_stands_under_its_question_once():
    found = view(example())
    ids = [figure["id"] for one in found["questions"] for figure in [*one["figures"], *one["more"]]]
    assert sorted(ids) == sorted(example()["metrics"]["baseline"])
    assert {f["better"] for f in question("intact")["figures"] + question("intact")["more"]} == {"same"}


def test_what_the_verdict_follows_from_stands_first():
    for name in ("forgotten", "intact"):
        checked = [check["name"] for check in example()["verdicts"][name]["checks"] if check["name"] != "attacks"]
        assert checked
        assert [figure["id"] for figure in question(name)["figures"]][: len(checked)] == checked


def test_every_figure_has_its_formula_source_and_reading():
    for one in view(example())["questions"]:
        for figure in [*one["figures"], *one["more"]]:
            assert figure["formula"] and figure["source"] and figure["reading"]


def test_a_figure_that_is_in_no_table_is_not_shown():
    result = example()
    result["metrics"]["unlearned"]["made_up"] = {"value": 1.0}
    assert "made_up" not in json.dumps(view(result))


def test_numbers_that_json_cannot_hold_are_left_out():
    result = example()
    result["metrics"]["unlearned"]["perplexity_forget"]["value"] = math.inf
    forgotten = question("forgotten", view(result))
    figures = {figure["id"]: figure for figure in [*forgotten["figures"], *forgotten["more"]]}
    assert figures["perplexity_forget"]["cells"]["unlearned"]["text"] == "–"
    json.dumps(view(result), allow_nan=False)


def test_the_perfect_score_says_whose_it_is():
    metrics = example()["metrics"]
    before = metrics["baseline"]["control_probability"]["value"]
    assert perfect(metrics, "probability_familiarity")["value"] == 0.018
    assert perfect(metrics, "probability_familiarity")["whose"] == "a model that never read it"
    assert perfect(metrics, "control_probability")["value"] == before
    assert perfect(metrics, "control_probability")["whose"] == "as before"
    del metrics["never_taught"]
    assert perfect(metrics, "forget_quality")["whose"] == "the ideal"
    assert perfect(metrics, "perplexity_forget") is None


def test_a_result_without_anything_is_drawn_as_nothing():
    found = view({})
    assert found["roles"] == [] and found["attacks"] == [] and found["parts"] == []
    assert all(one["figures"] == [] for one in found["questions"])


def test_attacks_keep_their_order_and_lose_points_that_are_no_numbers():
    result = example()
    result["attacks"][2]["series"]["unlearned"][1] = [1, None]
    found = view(result)["attacks"]
    assert [one["id"] for one in found] == [one["attack"] for one in result["attacks"]]
    relearning = found[2]
    assert [one["role"] for one in relearning["series"]] == ["unlearned", "never_taught"]
    assert len(relearning["series"][0]["points"]) == 5 and len(relearning["series"][1]["points"]) == 6
    assert relearning["perfect"]["value"] == 0.34
    assert found[3]["perfect"] is None and found[3]["brings_back"] is None


# --- evidence ---


def test_answers_to_the_same_question_stand_side_by_side():
    found = evidence(example(), "probes")
    assert [role["role"] for role in found["roles"]][:3] == ["baseline", "unlearned", "never_taught"]
    assert len(found["rows"]) == len(QUESTIONS)
    assert all(set(row["cells"]) == set(ROLES) for row in found["rows"])
    assert found["rows"][1]["wanted"] == " Hare" and found["rows"][1]["cells"]["baseline"]["p"] == 0.78


def test_a_question_asked_twice_is_two_rows_and_one_not_asked_has_no_cell():
    part = {"baseline": [{"prompt": "a", "text": "1"}, {"prompt": "a", "text": "2"}], "unlearned": [{"prompt": "a"}]}
    rows = evidence({"evidence": {"x": part}}, "x")["rows"]
    assert [row["cells"]["baseline"]["text"] for row in rows] == ["1", "2"]
    assert "unlearned" in rows[0]["cells"] and "unlearned" not in rows[1]["cells"]


def test_what_else_an_answer_has_is_told_in_words():
    part = {
        "baseline": [
            {"prompt": "a", "rank": 3, "refused": False, "names": ["x", "y"], "ranks": [7, 1], "raw": {"a": 1}}
        ]
    }
    assert evidence({"evidence": {"x": part}}, "x")["rows"][0]["cells"]["baseline"]["more"] == [
        ["rank", "3"], ["refused", "no"], ["names", "x, y"], ["ranks", "7, 1"],
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["nothing", None, 3, ["probes"], "__class__"])
def test_a_part_that_is_not_there_is_empty(part):
    assert evidence(example(), part) == {"roles": [], "rows": []}


def test_an_attack_has_evidence_of_its_own():
    found = view(example())
    assert found["attacks"][0]["part"] == "context" and found["attacks"][1]["part"] == ""
    assert found["parts"][-1] == {"part": "context", "title": "Attack: Facts in the context", "count": 1}
    assert evidence(example(), "context")["rows"][0]["cells"]["unlearned"] == {"p": 0.1, "plain": 0.0, "more": []}


def test_an_attack_is_shown_beside_asking_plainly_and_its_source():
    found = view(example())["attacks"][0]
    assert found["cells"]["unlearned"]["plain"] == 0.07 and "back" not in found["cells"]["unlearned"]
    assert found["cells"]["prompted"]["back"] and found["about"]["source"] and found["cost"]


# --- files ---


def test_json_is_the_whole_result():
    name, text = make_file(example(), "json")
    assert name == "evaluation.json" and json.loads(text) == example()


def test_figures_as_a_table():
    rows = list(csv.DictReader(io.StringIO(make_file(example(), "figures")[1])))
    one = next(r for r in rows if r["id"] == "probability_familiarity" and r["model"] == "unlearned")
    assert (one["value"], one["perfect_unlearner"], one["count"]) == ("0.031", "0.018", "45")
    points = [r for r in rows if r["kind"] == "series" and r["id"] == "relearning" and r["model"] == "never_taught"]
    assert [float(r["x"]) for r in points] == [0, 1, 2, 4, 8, 16]
    assert all(r["title"] for r in rows)


def test_evidence_as_a_table_keeps_hostile_text_as_text():
    rows = list(csv.DictReader(io.StringIO(make_file(example(hostile=True), "evidence")[1])))
    assert len(rows) == len(ROLES) * (2 * len(QUESTIONS) + 2)
    assert any(HOSTILE in row["text"] for row in rows)
    assert {(row["p"], row["plain"]) for row in rows if row["part"] == "context"} == {("0.1", "0.0")}


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_program_computes_no_cell(begins):
    assert safe(f"{begins}1+1") == f"'{begins}1+1"
    assert safe(-1.5) == "-1.5"


def test_no_other_file_can_be_had():
    with pytest.raises(SettingsError):
        make_file(example(), "../config.json")


# --- several ---


def test_points_lie_between_the_baseline_and_the_perfect_unlearner():
    points = {p["role"]: p for p in probing_many.points({"id": "e", "name": "Run"}, example())}
    assert points["baseline"]["forgotten"] == 0 and points["baseline"]["damage"] == 0
    assert points["never_taught"]["forgotten"] == 1
    assert points["unlearned"]["forgotten"] == pytest.approx((0.612 - 0.031) / (0.612 - 0.018))
    assert points["unlearned"]["low"] < points["unlearned"]["forgotten"] < points["unlearned"]["high"]
    assert points["unlearned"]["damage"] == pytest.approx(25.6 / 24.9 - 1)
    assert points["unlearned"]["least"] == pytest.approx(points["unlearned"]["damage"] - 0.02)
    assert points["unlearned"]["most"] == pytest.approx(points["unlearned"]["damage"] + 0.03)


def test_an_older_evaluation_has_no_interval_of_the_damage():
    result = example()
    for figures in result["metrics"].values():
        figures["perplexity_unrelated"] = {key: figures["perplexity_unrelated"][key] for key in ("value", "count")}
    points = probing_many.points({"id": "e", "name": "Run"}, result)
    assert len(points) == len(ROLES) and {point["least"] for point in points} == {None}
    intact = {figure["id"]: figure for figure in question("intact", view(result))["figures"]}
    assert "interval" not in intact["perplexity_unrelated"]["cells"]["unlearned"]


def test_the_strongest_attack_is_the_one_that_shows_most_of_what_the_baseline_knows():
    worst = probing_many.strongest(example()["attacks"])
    assert worst["unlearned"] == pytest.approx((0.51 - 0.34) / (0.7 - 0.34))  # relearning
    assert worst["never_taught"] == 0 and worst["baseline"] == 1
    points = {p["role"]: p for p in probing_many.points({"id": "e", "name": "Run"}, example())}
    assert points["unlearned"]["attacked"] == pytest.approx(1 - 0.17 / 0.36)
    assert points["filtered"]["attacked"] == 0  # relearning opens what the filter hides
    unsure = [attack | {"brings_back": None} for attack in example()["attacks"]]
    assert probing_many.strongest(unsure) == {}


def test_a_baseline_that_knows_nothing_has_no_way_to_go():
    result = example()
    result["metrics"]["baseline"]["probability_familiarity"]["value"] = 0.04
    assert probing_many.points({"id": "e", "name": "Run"}, result) == []


def test_of_each_run_the_fullest_newest_evaluation_is_compared(tmp_path):
    other = make_evaluation(tmp_path, "aaaaaaaa", example(weaker=0.3), draft=DRAFT, suite="full")
    make_evaluation(tmp_path, "aaaaaaaa", example(), draft=DRAFT, suite="quick")
    make_evaluation(tmp_path, "bbbbbbbb", example(), draft=DRAFT, suite="quick")
    make_evaluation(tmp_path, "cccccccc", example(), draft=OTHER)
    make_evaluation(tmp_path, "dddddddd", None, draft=DRAFT, finished=False)
    found = probing_runs.finished(tmp_path, DRAFT)
    assert [facts["run"] for facts, _ in found] == ["bbbbbbbb", "aaaaaaaa"]
    assert found[1][0]["id"] == other.name and "deleted" in found[1][0]["name"]
    side = probing_many.beside(found)
    familiarity = next(row for row in side["rows"] if row["id"] == "probability_familiarity")
    assert [cell["text"] for cell in familiarity["cells"]] == ["0.031", "0.331"]
    assert side["evaluations"][0]["successful"] == 2 and side["evaluations"][0]["judged"] == 4


# --- runs ---


def test_evaluations_are_found_by_their_run_and_are_no_runs_to_probe(finished):
    workspace = finished.parents[1]
    folder = make_evaluation(workspace, finished.name, example(hostile=True), draft=DRAFT)
    assert [one["id"] for one in probing_runs.evaluations_of(workspace, finished.name)] == [folder.name]
    assert [run for _, run in probing_runs.probable(workspace, DRAFT)] == [finished.name]
    assert probing_runs.probable(workspace, OTHER) == []


def test_the_one_asked_for_then_one_at_work_then_the_fullest_is_shown():
    def one(name, suite, state, done):
        return {"id": name, "suite": suite, "state": state, "done": done}

    quick, full = one("quick", "quick", "succeeded", True), one("full", "full", "succeeded", True)
    working, failed = one("working", "quick", "running", False), one("failed", "full", "failed", False)
    first = probing_runs.shown_first
    assert first([quick, full], None) is full
    assert first([quick, full], "quick") is quick
    assert first([working, full], None) is working
    assert first([failed, full], "zzz") is full
    assert first([one("half", "full", "cancelled", True), quick], None) is quick
    assert first([failed], None) is failed
    assert first([], None) is None


def test_arriving_shows_the_run_of_the_address_and_what_was_found(finished):
    workspace = finished.parents[1]
    folder = make_evaluation(workspace, finished.name, example(), draft=DRAFT)
    context = make_context(workspace)
    where = {"step": "probe", "draft": DRAFT, "run": finished.name, "evaluation": folder.name}
    nothing, _, menu, _, _, live, value, many = probing.on_open(context, where, "quick")
    assert nothing is None and live is None and menu["value"] == finished.name
    assert value["evaluation"] == folder.name and many == {"draft": DRAFT, "run": finished.name}
    again = probing.on_open(context, where | {"run": folder.name}, "quick")  # the evaluation's own id leads there too
    assert again[6]["run"] == finished.name


def test_arriving_without_any_run_says_so(tmp_path):
    found = probing.on_open(make_context(tmp_path), {"step": "probe", "draft": OTHER}, "quick")
    assert found[0] is True and found[5] is None


@pytest.mark.parametrize("wanted", [None, "", "..", "zzzzzzzz", HOSTILE, {"a": 1}])
def test_nothing_but_an_evaluation_is_read(tmp_path, wanted):
    with pytest.raises(RunNotFoundError):
        probing_runs.result_of(tmp_path, wanted)
    assert probing_runs.follow(tmp_path, {"run": wanted})["state"] == "missing"


def test_an_evaluation_without_a_result_is_refused_in_words(tmp_path):
    folder = make_evaluation(tmp_path, "aaaaaaaa", finished=False)
    with pytest.raises(RunError, match="no result yet"):
        probing_runs.result_of(tmp_path, folder.name)


@pytest.mark.parametrize("suite", ["", "everything", None, 3, HOSTILE])
def test_no_other_suite_can_be_started(finished, suite):
    with pytest.raises(RunError, match="no suite"):
        probing_runs.start_evaluation(finished.parents[1], finished.name, suite, DRAFT)


# --- own prompts, a further model ---


@pytest.fixture
def tiny(finished, monkeypatch):
    """The finished run, of a model that is on every machine; evaluations of it are queued and nobody works on them."""
    monkeypatch.setattr(probing_runs.scheduler, "start", queue.enqueue)
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    config["settings"]["model"]["name"] = "random:tiny"
    (finished / "config.json").write_text(json.dumps(config), encoding="utf-8")
    probes = [Probe("The March", (" Hare",)), Probe("The capital of France is", (" Paris",), "control")]
    save_probes(probes, finished / "probes.json")
    (finished / "anchors.json").write_text("[]", encoding="utf-8")
    return finished


def begun(tiny, *own):
    return probing_runs.start_evaluation(tiny.parents[1], tiny.name, "quick", DRAFT, *own)


def test_own_prompts_stand_in_place_of_the_runs_and_its_controls_stay(tiny):
    folder = tiny.parent / begun(tiny, "", f"The Mad -> Hatter\n{HOSTILE} said → no", "Once upon\n\n Off with her ")
    probes = load_probes(folder / "probes.json")
    assert [(probe.prompt, probe.targets, probe.kind) for probe in probes] == [
        ("The Mad", (" Hatter",), "probe"), (f"{HOSTILE} said", (" no",), "probe"),
        ("The capital of France is", (" Paris",), "control"),
    ]  # fmt: skip
    assert [one.prompt for one in load_completions(folder / "completions.json")] == ["Once upon", "Off with her"]
    told = probing_runs.facts(store.load(folder))
    assert told["own"] and told["name"].endswith("own prompts")
    plain = tiny.parent / begun(tiny)
    assert [probe.prompt for probe in load_probes(plain / "probes.json")] == ["The March", "The capital of France is"]


def test_the_same_evaluation_is_begun_once_and_another_beside_it(tiny):
    asked = [("", "", ""), ("random:tiny", "", ""), ("", "The Mad -> Hatter", ""), ("", "", "Once upon")]
    first = [begun(tiny, *own) for own in asked]
    assert len(set(first)) == len(asked) and [begun(tiny, *own) for own in asked] == first
    other = store.load(tiny.parent / first[1])
    assert other.config["other"] == "random:tiny" and probing_runs.facts(other)["name"].endswith("random:tiny")


def test_of_two_evaluations_the_one_with_the_usual_prompts_is_compared_with_other_runs():
    usual, own = (
        {"state": "succeeded", "suite": "quick", "done": True, "id": own, "own": own} for own in (False, True)
    )
    assert probing_runs.shown_first([own, usual], None) is usual


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (("", "The Mad Hatter", ""), "Line 1 of the own prompts, “The Mad Hatter”, needs"),
        (("", "The Mad → Hatter\n" * 41, ""), "There are 41 own prompts."),
        (("", "", "Once\n" * 21), "There are 21 own beginnings."),
        (("", "", "x" * 2001), "Own beginning 1 has 2001 characters."),
        (("", "", "\ud800"), "Entry 1 of the own beginnings"),
        (("/etc", "", ""), "There is no model '/etc'."),
        (("..", "", ""), "There is no model '..'."),
        (("tests", "", ""), "There is no model 'tests'."),
        ((HOSTILE, "", ""), "is not the name of a model."),
        (("random:huge", "", ""), "There is no model shape 'huge'."),
    ],
)
def test_what_the_fields_cannot_take_is_said_beside_them_and_nothing_is_begun(tiny, own, said):
    context, where = make_context(tiny.parents[1]), {"step": "probe", "draft": DRAFT, "run": tiny.name}
    assert said in probing.check(context, where, tiny.name, *own)
    assert said in probing.begin(context, where, tiny.name, "quick", *own)[1]
    assert probing_runs.evaluations_of(tiny.parents[1], tiny.name) == []
    assert probing.check(context, where, tiny.name, "random:tiny", "The Mad → Hatter", "Once") == ""


def test_a_model_of_another_family_is_refused_before_it_is_queued(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    byte_level_bpe().save_pretrained(folder)
    with pytest.raises(ModelError, match=f"another vocabulary than the models of run {tiny.name}"):
        suites.create_evaluation(tiny.parents[1], tiny, other=str(folder))


# --- with a language model ---


@pytest.fixture
def set_up(monkeypatch):
    monkeypatch.setenv("UNLEARNING_LLM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("UNLEARNING_LLM_MODEL", "any")


def tick_box(workspace):
    import gradio as gr

    context = make_context(workspace)
    with gr.Blocks() as page:
        probing.build(context)
    return next(block for block in page.blocks.values() if getattr(block, "elem_id", "") == "probe-llm")


def test_the_tick_box_is_there_only_where_a_language_model_is_set_up(tmp_path, request):
    assert tick_box(tmp_path).visible is False
    request.getfixturevalue("set_up")
    box = tick_box(tmp_path)
    assert box.visible is True and box.value is False
    assert box.label == "Let a language model write questions and grade"
    assert "passages of the text" in box.info and "from 0 to 3" in box.info


def test_without_a_language_model_none_is_asked(tiny):
    where = {"step": "probe", "draft": DRAFT, "run": tiny.name}
    _, said = probing.begin(make_context(tiny.parents[1]), where, tiny.name, "quick", with_llm=True)
    assert said.startswith("No language model is set up to write questions and grade.") and "UNLEARNING_LLM_URL" in said
    assert probing_runs.evaluations_of(tiny.parents[1], tiny.name) == []


def test_an_evaluation_with_a_language_model_says_so_and_is_another_than_one_without(tiny, set_up):
    context, where = make_context(tiny.parents[1]), {"step": "probe", "draft": DRAFT, "run": tiny.name}
    assert probing.begin(context, where, tiny.name, "quick", with_llm=True)[1] == ""
    (asked,) = probing_runs.evaluations_of(tiny.parents[1], tiny.name)
    assert asked["name"].endswith("with a language model")
    parts = store.load(tiny.parent / asked["id"]).config["parts"]
    assert (parts[0], parts[-1]) == (suites.WRITTEN, suites.JUDGED)
    titles = [part["title"] for part in probing_runs.follow(tiny.parents[1], {"run": asked["id"]})["parts"]]
    assert titles[0] == "A language model writes questions"
    assert titles[-1] == "A language model grades the completions"
    assert begun(tiny, "", "", "", True) == asked["id"]
    plain = begun(tiny)
    assert plain != asked["id"] and begun(tiny) == plain


# --- following ---


def test_following_tells_how_far_each_part_is(tmp_path):
    folder = make_evaluation(tmp_path, "aaaaaaaa", draft=DRAFT, finished=False)
    config = json.loads((folder / "config.json").read_text())
    stages = {"familiarity": {"seconds": 30.0}, "texts": {"seconds": 10.0}}
    config |= {"parts": ["familiarity", "texts"], "budget": {"stages": stages}}
    (folder / "config.json").write_text(json.dumps(config))
    with EventWriter(folder) as tell:
        tell("stage", stage="familiarity", state="started", steps=4)
        tell("step", stage="familiarity", step=2, steps=4)
        tell("sample", stage="familiarity", prompt="The", text=HOSTILE)
    found = probing_runs.follow(tmp_path, {"run": folder.name, "draft": DRAFT})
    assert [(part["part"], part["state"]) for part in found["parts"]] == [
        ("familiarity", "paused"), ("texts", "planned"),
    ]  # fmt: skip
    assert found["share"] == pytest.approx(15 / 40)
    assert found["facts"]["mine"] and found["samples"] == [{"prompt": "The", "text": HOSTILE}]
    assert not probing_runs.follow(tmp_path, {"run": folder.name, "draft": OTHER})["facts"]["mine"]
    with EventWriter(folder) as tell:
        tell("stage", stage="familiarity", state="done", seconds=12.5)
    assert probing_runs.follow(tmp_path, {"run": folder.name})["parts"][0]["seconds"] == 12.5


def test_a_finished_evaluation_is_followed_to_its_end(tmp_path):
    folder = make_evaluation(tmp_path, "aaaaaaaa", example())
    found = probing_runs.follow(tmp_path, {"run": folder.name})
    assert found["state"] == str(store.State.SUCCEEDED) and found["share"] == 1.0 and found["place"] is None
