"""What an evaluation adds to its run's report: every figure beside a perfect unlearner's, the attacks, no markup."""

import json

from evaluation_for_tests import HOSTILE, example, make_evaluation
from test_html_report import read

from unlearning.config import make_settings
from unlearning.evaluation.evaluation_report import evaluation_section
from unlearning.evaluation.html_report import html_report
from unlearning.runs import store


def test_every_figure_attack_and_perfect_score_is_in_it():
    found = read(evaluation_section(example()))
    for words in ("Probability familiarity", "0.031", "0.018", "Relearning", "brings it back", "formula only"):
        assert words in found.text
    assert found.crossed == [] and found.open == []


def test_attacks_that_cannot_be_judged_do_not_count():
    assert "2 of 4 bring the text back; 1 more could not be judged." in read(evaluation_section(example())).text
    attacks = [attack | {"brings_back": None} for attack in example()["attacks"]]
    assert "Of none of these attacks can it be said" in evaluation_section(example() | {"attacks": attacks})
    attacks = [attack | {"brings_back": False} for attack in attacks]
    assert "0 of 5 bring the text back." in evaluation_section(example() | {"attacks": attacks})


def test_nobodys_words_become_markup():
    result = example(hostile=True)
    result["verdicts"]["forgotten"]["text"] += HOSTILE
    found = read(evaluation_section(result))
    assert not found.tags & {"script", "img"} and HOSTILE in found.text
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_an_evaluation_that_was_stopped_says_so_and_none_is_nothing():
    assert "stopped before its end" in evaluation_section(example() | {"complete": False})
    assert evaluation_section({}) == ""


def test_a_series_keeps_its_places_where_one_model_has_none():
    result = example()
    result["attacks"][2]["series"]["unlearned"][2] = [2, None]
    assert "<path" in evaluation_section(result)


def test_the_report_of_a_run_holds_its_fullest_evaluation(tmp_path):
    run = store.create(tmp_path, make_settings(), {"text.txt": "A text.", "anchors.json": "[]"}, title="A")
    make_evaluation(tmp_path, run.id, example(), suite="full")
    make_evaluation(tmp_path, run.id, json.loads(json.dumps(example()).replace("Relearning", "Other")), suite="quick")
    text = read(html_report(run.folder)).text
    assert "Probed: the full evaluation" in text and "Relearning" in text
