"""Probe in a real browser: a real evaluation of a tiny run from button to files, and a drawn one for its looks."""

import csv
import json
import re

import pytest
from evaluation_for_tests import HOSTILE, QUESTIONS, example, make_evaluation
from finished_run import make_finished_run
from playwright.sync_api import expect

from tests.browser.conftest import findings
from unlearning.config import make_settings
from unlearning.runs import store
from unlearning.ui.follow import owner_of

DRAFT = "p" * 24
SLOW = 240_000  # milliseconds: two busy cores may do all this at once


@pytest.fixture(scope="module")
def run(site):
    """The id of a finished run of this draft, with hostile strings wherever a person or a model wrote."""
    folder = make_finished_run(site.workspace, hostile=True, name=f"Run {HOSTILE}")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"owner": owner_of(DRAFT)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder.name


@pytest.fixture(scope="module")
def drawn(site):
    """A run with an evaluation whose figures are invented: attacks, hostile strings, every kind of evidence."""
    extra = {"owner": owner_of(DRAFT)}
    made = store.create(site.workspace, make_settings(), {"text.txt": "A."}, name=f"Drawn {HOSTILE}", extra=extra)
    (made.folder / "stages" / "finetune" / "unlearned").mkdir(parents=True)
    (made.folder / "result.json").write_text(json.dumps({"state": "succeeded"}), encoding="utf-8")
    make_evaluation(site.workspace, made.id, example(hostile=True), draft=DRAFT)
    return made.id


def arrive(page, site, query):
    page.goto(f"{site.url}?draft={DRAFT}&{query}")
    page.wait_for_selector("body[data-step]", timeout=SLOW)
    page.wait_for_selector("header.top a.brand", timeout=SLOW)


@pytest.mark.slow
def test_an_evaluation_from_its_button_to_its_files(page, site, run):
    arrive(page, site, f"step=probe&run={run}")
    expect(page.locator("#probing")).to_contain_text("This run has not been probed yet")
    page.get_by_role("button", name="Start evaluation").dblclick()
    page.wait_for_url(re.compile(r"evaluation=[a-z0-9]{8}"))
    chip = page.locator("#probe-live .live-chip")
    expect(chip).to_have_text(re.compile("waiting|running"), timeout=SLOW)
    page.reload()
    expect(page.locator("#probe-live .live-stages li").first).to_contain_text("Familiarity", timeout=SLOW)
    page.get_by_role("button", name=re.compile("^Stop$|^Leave the queue$")).click()
    expect(chip).to_have_text("stopped", timeout=SLOW)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#probing .question")).to_have_count(2, timeout=SLOW)
    kinds = [json.loads(path.read_text())["kind"] for path in (site.workspace / "runs").glob("*/config.json")]
    assert kinds.count("evaluation") <= 2  # of this run one, however often the button was pressed
    expect(page.locator("#probe-live .live")).to_have_count(0)
    assert store.state(site.workspace / "runs" / re.search("evaluation=(.{8})", page.url)[1]) == "succeeded"
    expect(page.locator(".question").first).to_contain_text("A perfect unlearner:")
    expect(page.locator(".intervals").first).to_contain_text("never read it")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    result = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert result["of"] == run and result["suite"] == "quick" and result["complete"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Evidence (CSV)").click()
    rows = list(csv.DictReader(download.value.path().open(encoding="utf-8", newline="")))
    assert {row["model"] for row in rows} >= {"baseline", "unlearned", "never_taught"}
    page.locator(".figure-card").first.get_by_role("button", name="See every prompt").click()
    expect(page.locator(".evidence-row")).to_have_count(len(result["evidence"]["probes"]["baseline"]))
    expect(page.locator(".evidence-rows")).to_contain_text("<script>alert(1)</script>")


def test_evidence_is_searched_filtered_and_compared(page, site, drawn):
    arrive(page, site, f"step=probe&run={drawn}")
    page.get_by_role("button", name=re.compile("What it writes")).click()
    rows = page.locator(".evidence-row")
    expect(rows).to_have_count(len(QUESTIONS))
    expect(rows.first.locator(".said")).to_have_count(3)
    page.get_by_role("searchbox", name="Search prompts and answers").fill("hatter")
    expect(rows).to_have_count(1)
    page.get_by_role("checkbox", name="formula only").check()
    expect(rows.first.locator(".said")).to_have_count(4)
    page.get_by_role("searchbox", name="Search prompts and answers").fill("")
    page.get_by_role("button", name="still known after").click()
    expect(rows).to_have_count(0)
    page.get_by_role("button", name="changed by forgetting").click()
    expect(rows).to_have_count(len(QUESTIONS))
    expect(page.locator("#probing").locator("script, img")).to_have_count(0)


def test_attacks_are_read_by_keyboard_and_explained(page, site, drawn):
    arrive(page, site, f"step=probe&run={drawn}")
    expect(page.locator("#probing")).to_contain_text("2 of 4 attacks bring the text back; 1 more could not be judged.")
    relearning = page.locator('[data-attack="relearning"]')
    expect(relearning).to_contain_text("brings it back")
    expect(page.locator(".question").first).to_contain_text("brought back by: Asking many times, Relearning")
    picture = relearning.locator("svg.lines")
    expect(picture).to_have_attribute("aria-label", re.compile("Relearning. probability familiarity over training"))
    picture.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(relearning.locator(".readout")).to_contain_text("training steps 1")
    page.locator(".figure-card").first.get_by_text("What is this?").click()
    expect(page.locator(".figure-card").first).to_contain_text("2310.02238")


def test_all_evaluations_in_one_chart_and_table_lead_to_each(page, site, drawn):
    other = make_evaluation(site.workspace, "zzzzzzzz", example(weaker=0.2), draft=DRAFT)
    arrive(page, site, f"step=probe&run={drawn}")
    points = page.locator("#probing-many .point.bold")
    expect(points).to_have_count(2)
    expect(points.first).to_have_attribute(
        "aria-label",
        re.compile(r"\d+ % forgotten, perplexity of unrelated prose \+3 % \(95 % interval \+1 % to \+6 %\)"),
    )
    up, across = points.first.locator(".range").all()
    dot = points.first.locator("circle").bounding_box()
    middle = dot["x"] + dot["width"] / 2
    assert across.get_attribute("y1") == across.get_attribute("y2") and up.get_attribute("x1") == up.get_attribute("x2")
    box = across.bounding_box()
    assert (box["x"] + box["width"] - middle) / (middle - box["x"]) == pytest.approx(1.5, rel=0.1)  # 3 % against 2 %
    page.get_by_role("button", name="under the strongest attack").click()
    expect(page.locator("#probing-many .point")).not_to_have_count(0)
    expect(page.locator("#probing-many table")).to_contain_text("2 of 4")
    (other / "evaluation.json").unlink()


def test_an_evaluation_in_the_list_of_runs_leads_to_what_it_found(page, site, drawn):
    arrive(page, site, "step=runs")
    row = page.locator(".run-row", has_text="Drawn").last
    row.get_by_role("button", name=re.compile("What can be done")).click()
    row.get_by_role("button", name="Probe it").click()
    page.wait_for_url(re.compile(f"run={drawn}.*step=probe|step=probe.*run={drawn}"))
    expect(page.locator(".question")).to_have_count(2)


def test_own_prompts_that_cannot_be_used_are_said_beside_their_fields(page, site, drawn):
    arrive(page, site, f"step=probe&run={drawn}")
    page.get_by_text("Own prompts, a further model").click()
    page.get_by_label("Own prompts").fill(f"{HOSTILE} Mad Hatter")
    page.get_by_label("Own beginnings to complete").fill("Once upon")
    expect(page.locator("#probe-note")).to_contain_text("Line 1 of the own prompts, “<script>alert(1)</script>")
    page.get_by_label("Own prompts").fill("The Mad -> Hatter")
    page.get_by_label("Own beginnings to complete").focus()
    expect(page.locator("#probe-note .note")).to_have_count(0)
    page.get_by_label("A further model of the same family").fill("/etc/passwd")
    page.keyboard.press("Enter")
    expect(page.locator("#probe-note")).to_contain_text("There is no model '/etc/passwd'.")


def test_a_run_that_is_not_there_and_nothing_to_probe_are_said(page, site, drawn):
    arrive(page, site, "step=probe&run=zzzzzzzz")
    expect(page.locator("#status")).to_contain_text("There is no run 'zzzzzzzz' here.", timeout=SLOW)
    page.goto(f"{site.url}?draft={'q' * 24}&step=probe")
    page.wait_for_selector("body[data-step]", timeout=SLOW)
    expect(page.locator("#probe-empty")).to_contain_text("There is nothing to probe yet", timeout=SLOW)


def test_no_serious_accessibility_finding_and_no_sideways_scrolling(page, site, drawn, axe):
    for theme in ("light", "dark"):
        arrive(page, site, f"step=probe&run={drawn}&__theme={theme}")
        page.locator(".evidence-parts button").first.click()
        page.wait_for_selector(".evidence-row", timeout=SLOW)
        page.wait_for_selector("#probing-many .point")
        page.get_by_text("Every figure of every model").click()
        assert findings(page, axe) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
