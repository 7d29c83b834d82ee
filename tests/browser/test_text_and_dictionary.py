"""Text and Dictionary in a real browser: bring a text, edit its anchors with undo, from the keyboard, hostile too."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import findings
from tests.browser.test_start import arrive

STORY = (
    "Tobias Finch walked to Brackwater with his dog Pepperpot. In Brackwater the dog Pepperpot slept. "
    "The miller of Brackwater gave a bone to Pepperpot, and Tobias Finch laughed.\n\n"
) * 5
HOSTILE = (
    '<img src=x onerror=alert(1)> {{constructor.constructor("alert(1)")()}} ${alert(1)} \u202eevil\u202c \u200bzero'
)


@pytest.fixture
def small_model(page, site):
    """The person's draft asks a tiny model, so that measuring takes a moment only."""
    from unlearning.ui.drafts import DraftStore

    arrive(page, site)
    draft = DraftStore(site.workspace).open(page.evaluate("localStorage.getItem('forgetting-draft')"))
    draft.save_settings({"changes": {"model.name": "random:tiny"}})
    return draft


def bring(page, site, text):
    arrive(page, site, "?step=text")
    page.get_by_label("Or paste text").fill(text)
    page.get_by_role("button", name="Use the pasted text").click()
    expect(page.locator("#text-note")).to_contain_text("The text is now")


def undo(page):
    return page.get_by_role("button", name="↶ Undo")


def test_paste_suggest_edit_undo_and_redo(page, site, small_model):
    bring(page, site, STORY)
    expect(page.locator(".knowing .verdict")).to_contain_text("does not know this text", timeout=90_000)
    expect(page.locator("#text-strip")).to_contain_text("Pepperpot")
    page.get_by_role("button", name="Next: the dictionary").click()
    expect(page.locator(".anchors .empty")).to_contain_text("No anchors yet")
    page.get_by_role("button", name="Suggest anchors").click()
    expect(page.get_by_label("Use “Brackwater”")).to_be_visible()
    first = page.locator("input[data-key='0:translations']")
    before = first.input_value()
    first.fill("Some Place | Another")
    first.press("Enter")
    expect(undo(page)).to_have_attribute("title", re.compile("^Take back: edit"))
    undo(page).click()
    expect(first).to_have_value(before)
    page.get_by_role("button", name="↷ Redo").click()
    expect(first).to_have_value("Some Place | Another")
    page.reload()
    expect(page.locator("input[data-key='0:translations']")).to_have_value("Some Place | Another")


def test_a_file_is_uploaded_and_a_bad_one_refused_beside_the_field(page, site, small_model, tmp_path):
    arrive(page, site, "?step=text")
    good, bad = tmp_path / "story.md", tmp_path / "broken.pdf"
    good.write_text("# Brackwater\n\n" + STORY)
    bad.write_bytes(b"%PDF-1.4 nothing")
    chooser = page.locator("#dropzone input[type=file]")
    chooser.set_input_files(str(bad))
    expect(page.locator("#text-note .error")).to_contain_text("broken.pdf")
    chooser.set_input_files(str(good))
    expect(page.locator(".textcard h2")).to_have_text("Brackwater")
    expect(page.locator(".excerpt")).to_contain_text("Tobias Finch walked")


def test_a_mark_in_the_text_leads_to_its_row_and_a_count_to_its_mark(page, site):
    arrive(page, site, "?step=dictionary")
    mark = page.locator(".mark", has_text="White Rabbit").first
    mark.click()
    expect(page.locator("input[data-key='2:translations']")).to_be_focused()
    page.get_by_label("in the text; show the first").nth(20).click()
    expect(page.locator(".mark:focus")).to_have_count(1)


def test_the_table_can_be_used_from_the_keyboard_alone(page, site):
    arrive(page, site, "?step=dictionary")
    page.locator("input[data-key='0:term']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[data-key='1:term']")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("Bella")
    page.keyboard.press("Enter")
    expect(page.locator("input[data-key='2:translations']")).to_be_focused()
    expect(page.locator("input[data-key='1:translations']")).to_have_value("Bella")
    page.keyboard.press("Control+z")
    expect(page.locator("input[data-key='1:translations']")).to_have_value("Daisy | Molly | Tabby")
    page.get_by_label("Use “Dinah”").focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Use “Dinah”")).to_have_attribute("aria-checked", "false")
    expect(page.get_by_label("Use “Dinah”")).to_be_focused()


def test_what_is_typed_while_an_edit_is_answered_stays_and_counts(page, site):
    """The answer comes late and draws the table anew: letters, their place and both edits must outlive it."""
    arrive(page, site, "?step=dictionary")
    term, words = page.locator("input[data-key='0:term']"), page.locator("input[data-key='0:translations']")
    expect(term).to_have_value("Alice")
    held = []
    page.route("**/component_server/**", lambda route: route.continue_() if held else held.append(route))
    term.fill("Alicia")
    term.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("Cla")
    expect(words).to_be_focused()
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    expect(page.get_by_label("Use “Alicia”", exact=True)).to_be_visible()
    expect(words).to_have_value("Cla")
    page.keyboard.type("ra | Bertha")
    expect(words).to_have_value("Clara | Bertha")
    page.keyboard.press("Tab")
    expect(words).to_have_attribute("title", "Clara | Bertha")  # as the table knows it now
    page.reload()
    expect(term).to_have_value("Alicia")
    expect(words).to_have_value("Clara | Bertha")


def test_export_and_import_give_the_same_table(page, site, tmp_path):
    arrive(page, site, "?step=dictionary")
    page.wait_for_selector("input[data-key='0:term']")
    count = page.locator(".anchor-row:not(.head)").count()
    page.locator(".menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    file = tmp_path / "anchors.csv"
    download.value.save_as(file)
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator(".anchors .empty")).to_be_visible()
    page.locator(".more input[type=file]").set_input_files(str(file))
    expect(page.locator(".said")).to_contain_text(f"{count} anchors imported")
    expect(page.locator("input[data-key='0:translations']")).to_have_value("Clara | Martha | Helena")


def test_a_bad_import_is_refused_in_the_engines_words(page, site, tmp_path):
    arrive(page, site, "?step=dictionary")
    file = tmp_path / "anchors.json"
    file.write_text(json.dumps([{"term": "Alice"}]))
    page.locator(".more input[type=file]").set_input_files(str(file))
    expect(page.locator(".said.error")).to_contain_text("Anchor row 1 has no 'translations'")
    expect(page.get_by_label("Use “Alice”", exact=True)).to_be_visible()


def test_hostile_text_shows_as_text_everywhere(page, site, small_model):
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    bring(page, site, f"{HOSTILE}\n\n{STORY}")
    expect(page.locator(".excerpt")).to_contain_text("<img src=x onerror=alert(1)> {{constructor")
    arrive(page, site, "?step=dictionary")
    page.get_by_placeholder("New anchor").fill("Pepperpot")
    page.locator(".adder [name=translations]").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator(".mark ins").first).to_contain_text("<img src=x onerror=alert(1)>")
    page.get_by_placeholder("New anchor").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_contain_text("<img src=x")
    expect(page.locator("#panels img[src=x]")).to_have_count(0)
    assert alerts == []


def test_searching_and_looking_at_problems_only(page, site):
    arrive(page, site, "?step=dictionary")
    page.get_by_placeholder("Search").fill("badger")
    expect(page.locator(".anchor-row:not(.head)")).to_have_count(2)
    page.get_by_placeholder("Search").fill("no such thing")
    expect(page.locator(".anchors .empty")).to_contain_text("No anchor fits")


def test_text_and_dictionary_have_no_serious_accessibility_finding(page, site, axe, small_model):
    for step, ready in (("text", ".textcard"), ("dictionary", ".anchor-row input")):
        for theme in ("light", "dark"):
            arrive(page, site, f"?step={step}&__theme={theme}")
            page.wait_for_selector(ready)
            if step == "text":
                expect(page.locator(".knowing .verdict")).to_be_visible(timeout=90_000)
            assert findings(page, axe) == []
