"""The page under a sub-path behind a reverse proxy, and behind a login, in a real browser."""

import pytest
from playwright.sync_api import expect
from proxy_for_tests import serve_under

from tests.browser.conftest import free_port


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Starts pages with launch options of their own; gives their addresses."""
    from unlearning.ui.app import launch_settings
    from unlearning.ui.frame import build_app

    pages = []

    def launch(**options):
        workspace = tmp_path_factory.mktemp("workspace")
        page, port = build_app(workspace), free_port()
        settings = launch_settings(workspace) | {"quiet": True} | options
        page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, **settings)
        pages.append(page)
        return f"http://127.0.0.1:{port}"

    yield launch
    for page in pages:
        page.close()


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def test_everything_works_under_a_sub_path(launched, tab):
    url, end = serve_under("/lab", launched(root_path="/lab"))
    wrong, errors = [], []
    tab.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    tab.on(
        "request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((url, "data:", "blob:")) else None
    )
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(url)
    tab.wait_for_selector(".player")
    tab.locator("header a[data-step=dictionary]").click()
    tab.wait_for_selector("input[data-key='0:term']")
    assert tab.url.startswith(f"{url}?step=dictionary")
    tab.get_by_label("Use “Dinah”", exact=True).click()
    expect(tab.get_by_label("Use “Dinah”", exact=True)).to_have_attribute("aria-checked", "false")
    tab.reload()
    tab.wait_for_selector("input[data-key='0:term']")
    expect(tab.get_by_label("Use “Dinah”", exact=True)).to_have_attribute("aria-checked", "false")
    tab.locator("header a[data-step=text]").click()
    tab.get_by_label("Or paste text").fill("The keeper Tobias Finch lit the lamp. " * 20)
    tab.get_by_role("button", name="Use the pasted text").click()
    expect(tab.locator("#text-note")).to_contain_text("The text is now", timeout=60_000)
    tab.go_back()
    expect(tab.locator("#panel-dictionary")).to_be_visible()
    end()
    assert wrong == []
    assert errors == []


def test_a_login_is_asked_for_and_nothing_is_shown_without_it(launched, tab, browser):
    url = launched(auth=[("anna", "tea & scones")], auth_message="Ask the owner.")
    assert tab.request.get(f"{url}/config").status == 401
    assert tab.request.get(f"{url}/gradio_api/info").status == 401
    asked = tab.request.post(f"{url}/gradio_api/component_server/", data={"component_id": 1, "fn_name": "rows"})
    assert asked.status in (401, 422)
    tab.goto(url)
    expect(tab.get_by_text("Ask the owner.")).to_be_visible()
    expect(tab.locator("#first")).to_have_count(0)
    tab.get_by_label("username").fill("anna")
    tab.get_by_label("password").fill("wrong")
    tab.get_by_role("button", name="Login").click()
    expect(tab.get_by_text("Incorrect")).to_be_visible(timeout=30_000)
    tab.get_by_label("username").fill("anna")
    tab.get_by_label("password").fill("tea & scones")
    tab.get_by_role("button", name="Login").click()
    tab.wait_for_selector("body[data-step] header.top a.brand")
    tab.locator("header a[data-step=runs]").first.click()
    expect(tab.locator("#runs")).to_contain_text("No runs yet", timeout=60_000)
