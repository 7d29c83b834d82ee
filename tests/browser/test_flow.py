"""Unlearn, Compare, the inspector and Runs in a real browser, over real runs of a tiny model."""

import json
import re
import shutil
from contextlib import contextmanager
from statistics import median

import pytest
from finished_run import HOSTILE, make_finished_run, tiny_inputs
from playwright.sync_api import expect
from runs_for_tests import wait_until

from tests.browser.conftest import findings
from tests.browser.test_start import patience
from unlearning.runs.ending import worker_process
from unlearning.runs.events import read
from unlearning.runs.store import rename
from unlearning.text.anchors import parse_dictionary
from unlearning.text.documents import Document
from unlearning.ui.asking import BEHIND
from unlearning.ui.drafts import DraftStore
from unlearning.ui.follow import owner_of

DRAFT = "c" * 24
SLOW = 120_000  # milliseconds: two busy cores may do all this at once


@pytest.fixture(scope="module")
def run(site):
    """The id of a finished run of this draft, with hostile strings wherever a person or a model wrote."""
    return owned(make_finished_run(site.workspace, hostile=True, name=f"Run {HOSTILE}")).name


@pytest.fixture(scope="module")
def second(site):
    """Another one, for comparing and deleting."""
    return owned(make_finished_run(site.workspace, hostile=True, name="Second")).name


def owned(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"owner": owner_of(DRAFT)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def arrive(page, site, query):
    page.goto(f"{site.url}?draft={DRAFT}&{query}")
    page.wait_for_selector("body[data-step]")
    page.wait_for_selector("header.top a.brand")


@pytest.fixture
def draft(site):
    """A person's draft: a short text of their own, its dictionary, a tiny model chosen."""
    inputs = tiny_inputs()
    one = DraftStore(site.workspace).open(DRAFT)
    one.take_document(Document("My text", inputs["text.txt"]))
    one.change(parse_dictionary(inputs["anchors.json"], "json"), "a test")
    changes = {
        "model.name": "random:tiny", "text.block_tokens": 64, "text.max_tokens": 800, "finetune.epochs": 8,
        "evaluation.every_steps": 20, "evaluation.completions": 2, "evaluation.completion_tokens": 8,
    }  # fmt: skip
    one.save_settings({"preset": "standard", "changes": changes})
    yield one
    shutil.rmtree(one.folder, ignore_errors=True)


# --- the whole way, on one run ---


@pytest.mark.slow
def test_from_an_uploaded_file_to_its_comparison(page, site, draft, tmp_path):
    file = tmp_path / "mill.md"
    file.write_text("# The mill\n\n" + "Tobias Finch walked to Brackwater with his dog Pepperpot. " * 30)
    small = {"text.block_tokens": 128, "finetune.epochs": 1, "reinforce.epochs": 1, "evaluation.completion_tokens": 4}
    draft.save_settings({"preset": "standard", "changes": draft.settings["changes"] | small})
    arrive(page, site, "step=text")
    page.locator("#dropzone input[type=file]").set_input_files(str(file))
    expect(page.locator(".textcard h2")).to_have_text("The mill")
    expect(page.locator(".knowing .verdict")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Next: the dictionary").click()
    page.get_by_role("button", name="Suggest anchors").click()
    expect(page.get_by_label("Use “Brackwater”")).to_be_visible()
    page.get_by_role("button", name="Next: unlearn").click()
    expect(page.locator("#form-model input")).to_have_value("random:tiny")
    page.get_by_role("button", name="Start unlearning").click()
    page.wait_for_url(re.compile(r"run=[a-z0-9]{8}"), timeout=SLOW)
    expect(page.locator("#live .live-chip")).to_have_text("done", timeout=SLOW)
    page.locator("#live").get_by_role("button", name="Compare before and after").click()
    prompt = page.locator("#prompt textarea")
    expect(prompt).not_to_have_value("")
    prompt.fill("Tobias Finch walked to")
    page.get_by_role("button", name="Let them go on").click()
    expect(page.locator("#columns .voice .prompt").first).to_have_text("Tobias Finch walked to")
    expect(page.locator("#columns .voice.writing")).to_have_count(0, timeout=SLOW)
    expect(page.locator("#bars .token-bars tbody tr").first).to_be_visible(timeout=SLOW)
    folder = site.workspace / "runs" / re.search(r"run=([a-z0-9]{8})", page.url)[1]
    assert "Brackwater" in (folder / "text.txt").read_text(encoding="utf-8")
    assert "Brackwater" in (folder / "anchors.json").read_text(encoding="utf-8")
    shutil.rmtree(folder)


# --- unlearn ---


@contextmanager
def held_up(folder):
    """The run is in the middle of its work for as long as the test wants, however fast the machine."""
    assert wait_until(lambda: any(event["kind"] == "step" for event in read(folder).events), SLOW / 1000)
    worker = worker_process(folder)
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


@pytest.mark.slow
def test_start_reload_second_tab_stop_and_resume(page, site, draft, watched):
    arrive(page, site, "step=unlearn")
    expect(page.locator("#form-model input")).to_have_value("random:tiny")
    expect(page.locator("#watched textarea")).to_have_value(re.compile("→"))
    page.get_by_role("button", name="Start unlearning").dblclick()
    page.wait_for_url(re.compile(r"run=[a-z0-9]{8}"))
    chip = page.locator("#live .live-chip")
    expect(chip).to_have_text(re.compile("running|waiting|done"), timeout=SLOW)
    runs = [path for path in (site.workspace / "runs").iterdir() if (path / "config.json").exists()]
    (mine,) = [path for path in runs if "My text" in (path / "config.json").read_text(encoding="utf-8")]
    with held_up(mine):
        page.reload()
        other = page.context.new_page()
        watched.follow(other)
        other.goto(page.url)
        for tab in (page, other):
            expect(tab.locator("#live .live-name")).to_have_text(re.compile("My text"), timeout=SLOW)
        stop = page.get_by_role("button", name="Stop and keep")
        expect(stop).to_be_visible(timeout=SLOW)
        stop.click()
        expect(chip).to_have_text(re.compile("stopp"), timeout=1_000 * patience())  # acknowledged at once
    expect(chip).to_have_text("stopped", timeout=SLOW)
    expect(other.locator("#live .live-chip")).to_have_text("stopped", timeout=SLOW)
    page.get_by_role("button", name="Resume").click()
    expect(chip).to_have_text("done", timeout=3 * SLOW)
    expect(page.locator("#live .curve-legend li")).to_have_count(8)
    expect(page.locator("#live svg.curves").first).to_have_attribute("aria-label", re.compile("8 curves"))
    other.close()


def test_form_says_what_is_wrong_beside_the_field_and_the_button(page, site, draft):
    arrive(page, site, "step=unlearn")
    page.get_by_text("Advanced: every setting").click()
    page.get_by_role("tab", name="Generic labels").click()
    field = page.get_by_label("α (alpha)")
    field.fill("-3")
    field.blur()
    expect(page.locator("#field-label-alpha")).to_contain_text("label.alpha = -3")
    page.get_by_role("button", name="Start unlearning").click()
    expect(page.locator("#start-note")).to_contain_text("label.alpha = -3")
    field.fill("2")
    page.get_by_text("The same on the command line").click()
    expect(page.locator("#command")).to_contain_text("--label-alpha 2")
    page.locator("#watched textarea").fill("no arrow here")
    page.get_by_role("button", name="Start unlearning").click()
    expect(page.locator("#start-note")).to_contain_text("Line 1 of the watched prompts")


def test_a_run_that_is_not_there_is_said_so(page, site):
    arrive(page, site, "run=zzzzzzzz")
    expect(page.locator("#live")).to_contain_text("There is no run 'zzzzzzzz' here.")


# --- compare ---


def test_compare_pin_and_branch(page, site, run):
    arrive(page, site, f"step=compare&run={run}")
    prompt = page.locator("#prompt textarea")
    expect(prompt).not_to_have_value("")
    page.locator("#columns-of").get_by_text("never read it").click()
    page.get_by_role("button", name="Let them go on").click()
    expect(page.locator("#columns .voice")).to_have_count(3)
    expect(page.locator("#columns .voice.writing")).to_have_count(0, timeout=SLOW)
    expect(page.locator("#bars .token-bars thead")).to_contain_text("generic target", timeout=SLOW)
    heads = page.locator("#bars .token-bars thead th").all_inner_texts()
    assert [head.strip() for head in heads] == ["next token", "before", "reinforced", "generic target", "after"]
    before = prompt.input_value()
    with page.expect_request(lambda asked: '"drop"' in (asked.post_data or "")):  # nobody reads the old columns
        page.locator("#bars .token-button").first.click()
    expect(prompt).to_have_value(re.compile(f"^{re.escape(before)}."))
    page.get_by_role("button", name="matches").click()
    expect(page.get_by_role("button", name="matches")).to_have_attribute("aria-pressed", "true")


def test_compare_is_as_it_was_after_coming_back_and_can_be_linked_to(page, site, run):
    arrive(page, site, "step=compare")
    ask = page.get_by_role("button", name="Let them go on")
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    page.locator("#columns-of").get_by_text("never read it").click()
    page.locator("#prompt textarea").fill("Alice sat by the")
    ask.click()
    page.wait_for_url(re.compile(r"run=[a-z0-9]{8}.*prompt=Alice"))
    asked = page.url
    expect(page.locator("#columns .voice")).to_have_count(3)
    page.locator("a[data-step=runs]").click()
    expect(page.locator(".run-row").first).to_be_visible()
    page.locator("a[data-step=compare]").click()
    expect(page.locator("#columns .voice")).to_have_count(3)
    page.wait_for_timeout(1000)
    expect(page.locator("#columns-of input").nth(2)).to_be_checked()
    expect(page.locator("#prompt textarea")).to_have_value("Alice sat by the")
    page.goto(asked)
    expect(page.locator("#prompt textarea")).to_have_value("Alice sat by the")


def read_a_text(page, text):
    page.get_by_role("tab", name="Read a text").click()
    box = page.locator("#any-text textarea")
    box.fill(text)
    page.wait_for_timeout(500)
    if box.input_value() != text:  # Gradio fills a field once more just after it drew it: quicker than any person
        box.fill(text)
    page.get_by_role("button", name="Read it with both").click()


def test_strip_by_keyboard(page, site, run):
    arrive(page, site, f"step=compare&run={run}")
    read_a_text(page, f"Alice met the White Rabbit. {HOSTILE}")
    strip = page.locator("#compare-strip .strip-text")
    expect(strip).to_contain_text("Alice met the White Rabbit. <script>", timeout=SLOW)
    strip.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#compare-strip .strip-tip")).to_be_visible()
    active = page.evaluate("document.activeElement.getAttribute('aria-activedescendant')")
    assert page.locator(f"#{active}").get_attribute("aria-label").startswith("e: probability")
    page.keyboard.press("Enter")
    expect(page.locator("#pinned .token-bars tr.marked")).to_be_visible(timeout=SLOW)
    expect(page.locator("#pinned svg.curves")).to_be_visible()
    for measure in ("p", "log", "rank", "drank", "kl", "dp"):
        page.locator("#compare-strip select").first.select_option(measure)
    assert page.evaluate("window.hacked") is None
    page.locator("#pinned .token-button").first.click()  # goes on from there
    expect(page.locator("#prompt textarea")).to_have_value(re.compile("^Alic."))
    expect(page.locator("#columns .voice .prompt").first).to_have_text(re.compile("^Alic."))


FIRST_DRAW = """
    const ask = window.fetch;
    window.fetch = async (...asked) => {
        const answer = await ask(...asked);
        const asks = String(asked[0].url || asked[0]).includes("component_server");
        if (asks && (await answer.clone().text()).includes('"kl"')) {
            window.answered = performance.now();
            const look = () => document.querySelectorAll("#compare-strip .strip-text [role=option]").length > 1000
                ? requestAnimationFrame(() => setTimeout(() => { window.drawn = performance.now(); }))
                : setTimeout(look);
            look();
        }
        return answer;
    };
"""  # from the answer of the server to the strip on the screen


def test_a_thousand_tokens_are_drawn_in_time(page, site, run):
    page.add_init_script(FIRST_DRAW)
    arrive(page, site, f"step=compare&run={run}")
    read_a_text(page, "Alice met the White Rabbit. " * 40)
    expect(page.locator("#compare-strip .strip-text [role=option]").nth(1000)).to_be_attached(timeout=SLOW)
    page.wait_for_function("window.drawn")
    assert page.evaluate("window.drawn - window.answered") < 300 * patience()
    repaint = """(measure) => new Promise((done) => {
        const select = document.querySelector('#compare-strip select');
        const began = performance.now();
        select.value = measure;
        select.dispatchEvent(new Event('change'));
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    })"""
    assert median(page.evaluate(repaint, measure) for measure in ("kl", "p", "dp")) < 300 * patience()


def test_what_was_measured_can_be_tried(page, site, run):
    arrive(page, site, f"step=compare&run={run}")
    page.get_by_role("tab", name="What the run measured").click()
    first = page.locator("#measured .token-button").nth(1)
    expect(first).to_be_visible()
    first.click()
    expect(page.locator("#columns .voice").first).to_be_visible(timeout=SLOW)


def test_other_dice_write_something_else(page, site, run):
    arrive(page, site, f"step=compare&run={run}")
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    again = page.get_by_role("button", name="Again, with other dice")
    columns = page.locator("#columns .voice .continuation")
    page.get_by_role("button", name="Let them go on").click()
    expect(columns).to_have_count(2)
    expect(again).to_be_hidden()  # the likeliest words are the same every time
    page.get_by_text("Length, chance, another run").click()
    page.locator("#temperature input[type=number]").fill("1")
    page.locator("#temperature input[type=number]").press("Tab")
    page.get_by_role("button", name="Let them go on").click()
    expect(again).to_be_visible()
    expect(page.locator("#columns .voice.writing")).to_have_count(0, timeout=SLOW)
    before = columns.first.text_content()
    again.click()
    expect(page.locator("#seed input")).to_have_value("1")
    expect(columns.first).not_to_have_text(re.compile(f"^({re.escape(before)})?$"), timeout=SLOW)
    expect(page.locator("#columns .voice.writing")).to_have_count(0, timeout=SLOW)


def test_a_column_that_waits_says_so(page, site, run):
    columns = [{"text": " a b c", "ended": False}, {"text": "", "ended": False, "waits": BEHIND}]
    state = {"state": "working", "value": {"columns": columns}, "message": "", "ahead": 0, "share": 0.3}

    def half_way(route):
        asked = route.request.post_data or ""
        route.fulfill(json=state) if '"look"' in asked else route.continue_()

    page.route("**/component_server/**", half_way)
    arrive(page, site, f"step=compare&run={run}")
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    page.get_by_role("button", name="Let them go on").click()
    expect(page.locator("#columns .voice").nth(1)).to_contain_text("waits for the others")
    expect(page.locator("#columns .voice.writing")).to_have_count(1)
    expect(page.locator("#columns mark")).to_have_count(0)  # there is nothing to compare with yet
    page.unroute("**/component_server/**")


def test_a_zoom_into_a_chart_is_still_there_after_coming_back(page, site, run):
    arrive(page, site, f"step=compare&run={run}")
    page.get_by_role("tab", name="What the run measured").click()
    chart = page.locator("#measured-plot .js-plotly-plot")
    expect(chart.locator(".nsewdrag").first).to_be_attached(timeout=SLOW)
    seen = "(chart) => JSON.stringify([chart.layout.xaxis.range, chart.layout.yaxis.range])"
    whole = chart.evaluate(seen)
    chart.scroll_into_view_if_needed()
    box = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 160, steps=5)
    page.mouse.up()
    page.wait_for_function("document.querySelector('#measured-plot .js-plotly-plot').layout.xaxis.range[0] > -6")
    zoomed = chart.evaluate(seen)
    assert zoomed != whole
    page.locator("header a[data-step=runs]").click()
    expect(page.locator(".run-row").first).to_be_visible()
    rename(site.workspace / "runs" / run, "Seen twice")
    page.locator("header a[data-step=compare]").click()
    expect(page.locator("#compare-run input")).to_have_value("Seen twice")  # it has come again, and the chart with it
    rename(site.workspace / "runs" / run, f"Run {HOSTILE}")
    expect(chart).to_be_visible()
    page.wait_for_timeout(500)
    assert chart.evaluate(seen) == zoomed


# --- how a label is made ---


def test_inspect_a_label_and_move_alpha(page, site, run):
    arrive(page, site, f"step=inspector&run={run}")
    tokens = page.locator(".inspector-tokens [role=option]")
    expect(tokens.first).to_be_visible(timeout=SLOW)
    page.locator(".inspector-tokens").focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".inspector-place .token-bars")).to_be_visible(timeout=SLOW)
    slider = page.get_by_role("slider", name=re.compile("α"))
    before = page.locator(".inspector-place .token-bars").inner_text()
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator(".inspector-alpha output")).to_have_text("α = 10.0")
    expect(page.locator(".inspector-place .token-bars")).not_to_have_text(before)
    page.get_by_role("button", name="Next →").click()
    page.wait_for_url(re.compile("block=1"))
    expect(page.get_by_label("Block", exact=True)).to_have_value("2")


# --- runs ---


def test_runs_are_compared_renamed_reported_deleted_and_brought_back(page, site, run, second):
    arrive(page, site, "step=runs")
    row = page.locator(f'[data-run="{run}"]')
    expect(row).to_contain_text("<script>alert(1)</script>")
    page.get_by_role("checkbox", name="Choose Second").check()
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare 2 runs").click()
    expect(page.locator(".runs-compared")).to_contain_text("Probability familiarity")
    row.get_by_role("button", name=re.compile("What can be done")).click()
    row.get_by_role("button", name="Report").click()
    ready = page.locator("#ready-file a").first
    expect(ready).to_be_visible(timeout=SLOW)
    with page.expect_download() as download:
        ready.click()
    report = download.value.path().read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in report and "<script" not in report
    name = page.get_by_label("Name of the run")
    name.fill("Renamed <b>bold</b>")
    row.get_by_role("button", name="Rename").click()
    expect(row.locator(".run-name")).to_contain_text("Renamed <b>bold</b>")
    page.evaluate(f"window.forgetting.keep({{ run: '{run}' }})")  # as after looking at it
    row.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    expect(page).not_to_have_url(re.compile("run="))
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f'[data-run="{run}"]')).to_be_visible()


def test_a_name_being_typed_outlives_what_happens_to_other_runs(page, site, run, second):
    arrive(page, site, "step=runs")
    page.locator(f'[data-run="{run}"]').get_by_role("button", name=re.compile("What can be done")).click()
    name = page.get_by_label("Name of the run")
    other = page.locator(f'[data-run="{second}"] .run-name')
    name.fill("Half a na")
    rename(site.workspace / "runs" / second, "Second, renamed")
    with page.expect_response("**/component_server/**"):  # as one does who comes back to the tab
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(name).to_have_value("Half a na")
    expect(name).to_be_focused()
    page.keyboard.press("Tab")
    expect(other).to_contain_text("Second, renamed", timeout=SLOW)
    expect(name).to_have_value("Half a na")
    rename(site.workspace / "runs" / second, "Second")


def test_settings_of_a_run_fill_the_form(page, site, run):
    arrive(page, site, "step=runs")
    row = page.locator(f'[data-run="{run}"]')
    row.get_by_role("button", name=re.compile("What can be done")).click()
    row.get_by_role("button", name="Use these settings").click()
    expect(page.locator("#form-model input")).to_have_value("random:tiny")
    page.get_by_text("The same on the command line").click()
    expect(page.locator("#command")).to_contain_text("--model-rank 4")


def test_strangers_see_a_shared_run_but_no_list(page, site, run):
    page.goto(f"{site.url}?draft={'d' * 24}&step=runs")
    page.wait_for_selector("body[data-step]")
    expect(page.locator("#runs")).to_contain_text("No runs yet")
    page.goto(f"{site.url}?draft={'d' * 24}&run={run}")
    expect(page.locator("#live .live-chip")).to_have_text("done", timeout=SLOW)
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()


def test_a_server_that_does_not_answer_is_said_and_its_button_can_be_pressed_again(page, site, run):
    arrive(page, site, "step=runs")
    row = page.locator(f'[data-run="{run}"]')
    row.get_by_role("button", name=re.compile("What can be done")).click()
    page.route("**/component_server/**", lambda route: route.abort())
    row.get_by_role("button", name="Report").click()
    expect(page.locator(".runs-said [role=alert]")).to_contain_text("does not answer")
    page.unroute("**/component_server/**")
    row.get_by_role("button", name="Report").click()
    expect(page.locator("#ready-file a").first).to_be_visible(timeout=SLOW)


# --- for everybody ---


@pytest.mark.parametrize("step", ["unlearn", "compare", "inspector", "runs"])
def test_no_serious_accessibility_finding_and_no_sideways_scrolling(page, site, run, axe, step):
    for theme in ("light", "dark"):
        arrive(page, site, f"step={step}&run={run}&__theme={theme}")
        ready = {"unlearn": ".curve-legend li", "compare": "#write", "inspector": ".inspector-tokens [role=option]"}
        page.wait_for_selector(ready.get(step, ".run-row"), timeout=SLOW)
        if step == "compare":
            page.get_by_role("button", name="Let them go on").click()
            page.wait_for_selector("#bars .token-bars", timeout=SLOW)
        if step == "inspector":
            page.locator(".inspector-tokens [role=option]").nth(9).click()
            page.wait_for_selector(".inspector-place .token-bars", timeout=SLOW)
        assert findings(page, axe) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
