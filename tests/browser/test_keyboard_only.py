"""The whole way from the first page to a comparison with nothing but keys: Tab, arrows, Enter, Space and letters."""

import re
import shutil

import pytest
from finished_run import tiny_inputs
from playwright.sync_api import expect

from unlearning.text.anchors import parse_dictionary
from unlearning.text.documents import Document
from unlearning.ui.drafts import DraftStore

DRAFT = "k" * 24
SLOW = 240_000  # milliseconds
FOCUSED = """() => {
    const one = document.activeElement;
    const labelled = one.labels && one.labels.length ? one.labels[0].innerText : "";
    return `${one.getAttribute("aria-label") || ""} ${labelled} ${one.innerText || ""}`.replace(/\\s+/g, " ").trim();
}"""
SEEN = """() => {  // an outline, or a shadow that it has only with the focus
    const one = document.activeElement;
    one.style.transition = "none";
    const style = getComputedStyle(one);
    if (one.getBoundingClientRect().width === 0) return false;
    const clear = /^transparent$|, 0\\)$/.test(style.outlineColor);
    if (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && !clear) return true;
    const shadow = style.boxShadow;
    one.blur();
    const without = getComputedStyle(one).boxShadow;
    one.focus();
    return shadow !== "none" && shadow !== without;
}"""


def tab_to(page, words, most=120):
    """Press Tab until what has the focus is called so; it must be seen to have it."""
    wanted, passed = re.compile(words), []
    for _ in range(most):
        page.keyboard.press("Tab")
        name = page.evaluate(FOCUSED)
        if wanted.search(name):
            assert page.evaluate(SEEN), f"{name} does not show that it has the focus"
            return
        passed.append(name[:30])
    raise AssertionError(f"{words!r} cannot be reached with Tab; passed: {passed}")


@pytest.fixture
def draft(site):
    """A person's own short text, its dictionary, a tiny model."""
    inputs = tiny_inputs()
    one = DraftStore(site.workspace).open(DRAFT)
    one.take_document(Document("Keys", inputs["text.txt"]))
    one.change(parse_dictionary(inputs["anchors.json"], "json"), "a test")
    changes = {
        "model.name": "random:tiny", "text.block_tokens": 128, "text.max_tokens": 600, "reinforce.epochs": 1,
        "finetune.epochs": 1, "evaluation.completions": 2, "evaluation.completion_tokens": 4,
    }  # fmt: skip
    one.save_settings({"preset": "standard", "changes": changes})
    yield one
    shutil.rmtree(one.folder, ignore_errors=True)


@pytest.mark.slow
def test_from_the_first_page_to_a_comparison(page, site, draft):
    page.set_default_timeout(SLOW)
    page.goto(f"{site.url}?draft={DRAFT}")
    page.wait_for_selector("body[data-step] header.top a.brand")
    page.wait_for_selector(".player")
    tab_to(page, "^2 ?Dictionary$")
    page.keyboard.press("Enter")
    page.wait_for_selector("input[data-key='0:term']")
    tab_to(page, "^Use “Alice”")
    page.keyboard.press("Space")
    expect(page.get_by_label("Use “Alice”", exact=True)).to_have_attribute("aria-checked", "false", timeout=SLOW)
    page.keyboard.press("Control+z")
    expect(page.get_by_label("Use “Alice”", exact=True)).to_have_attribute("aria-checked", "true", timeout=SLOW)
    page.evaluate("document.querySelector('header a.brand').focus()")
    tab_to(page, "^3 ?Unlearn$")
    page.keyboard.press("Enter")
    expect(page.locator("#form-model input")).to_have_value("random:tiny", timeout=SLOW)
    tab_to(page, "^Start unlearning$")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"run=[a-z0-9]{8}"), timeout=SLOW)
    expect(page.locator("#live .live-chip")).to_have_text("done", timeout=SLOW)
    page.evaluate("document.querySelector('header a.brand').focus()")
    tab_to(page, "^Compare before and after$")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt textarea")).not_to_have_value("", timeout=SLOW)
    tab_to(page, "How does it go on")
    page.keyboard.press("Control+a")
    page.keyboard.type("Alice met the White")
    expect(page.locator("#prompt textarea")).to_have_value("Alice met the White")
    page.keyboard.press("Enter")
    expect(page.locator("#columns .voice")).to_have_count(2, timeout=SLOW)
    expect(page.locator("#columns .voice .prompt").first).to_have_text("Alice met the White")
    expect(page.locator("#columns .voice.writing")).to_have_count(0, timeout=SLOW)
    expect(page.locator("#columns .voice .continuation").first).not_to_be_empty()
