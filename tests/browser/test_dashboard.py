"""The dashboard in a real browser: headless Chromium, driven by Playwright.

Runs where both are installed (Debian's `chromium`, PyPI's `playwright`), as they are in CI.
Elsewhere these tests say that they were left out.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from bgproxy.client import AdminClient
from bgproxy.config.settings import Role
from bgproxy.errors import Refused
from tests.admin_double import AT, LATER, TOKENS, Admin, admin_in_thread, deployment, tokens
from tests.browser.stage import CHROMIUM, FLAGS, Demo, demo, visitors, wait_for

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_SERIES = [{"t": t, "successes": 10, "failures": t, "evidence": t * 4.0} for t in range(6)]
_BAKE = {
    "rule": "sequential",
    "baseline": {"failure_share": 0.01, "requests": 1000},
    "harm_level": 0.03,
    "break_even": 0.018,
    "evidence": 20.0,
    "evidence_needed": 20,
    "requests": 60,
    "failures": 15,
    "seconds": 6,
    "of_seconds": 600,
    "series": _SERIES,
    "reasons": {"server_error": 15},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which no script may fail and nothing may be blocked."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 1100})
    context.set_default_timeout(10_000)
    tab = context.new_page()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    yield tab
    context.close()
    assert complaints == []


@pytest.fixture
def admin() -> Iterator[Admin]:
    with admin_in_thread() as running:
        yield running


def _text(page: Page, selector: str, text: str | re.Pattern[str]) -> None:
    playwright.expect(page.locator(selector).first).to_contain_text(text, timeout=10_000)


def test_who_is_live_is_said_in_words_and_shapes(admin: Admin, page: Page) -> None:
    """At a glance, without its color."""
    page.goto(admin.url)
    _text(page, "h1", "● blue is live")
    assert "● default" in page.title()
    _text(page, ".side.blue h2", "live")
    _text(page, ".side.green h2", "idle")
    _text(page, ".side.green .backends", "http://127.0.0.1:9002✓ healthy")
    _text(page, "#connection", "✓ live")


def test_a_switch_is_asked_for_and_says_what_will_happen(admin: Admin, page: Page) -> None:
    """The confirmation explains; the request carries reason, release and generation."""
    page.goto(admin.url)
    page.get_by_role("button", name="Switch to ▲ green").click()
    _text(page, "#confirm", "Then every new request goes to green.")
    page.get_by_label("Why").fill("release 2")
    page.get_by_label("Release").fill("v2")
    page.locator("#confirm-go").click()
    _text(page, "h1", "▲ green is live")
    ((what, asked),) = admin.operations.calls
    assert (what, asked["reason"], asked["release"]) == ("switch", "release 2", "v2")
    assert asked["expected_generation"] == 1


def test_nothing_happens_without_a_yes(admin: Admin, page: Page) -> None:
    """Enter and Escape mean no: the harmless answer has the focus."""
    page.goto(admin.url)
    for key in ("Enter", "Escape"):
        page.get_by_role("button", name="Switch to ▲ green").click()
        page.keyboard.press(key)
        playwright.expect(page.locator("#confirm")).not_to_be_visible()
    assert admin.operations.calls == []


def test_a_refusal_is_shown_with_its_facts(admin: Admin, page: Page) -> None:
    """Each backend that was not healthy, and what it answered."""
    facts = {"backends": [{"url": "http://127.0.0.1:9002", "answered": "503 <b>busy</b>"}]}
    admin.operations.refusal = Refused(409, "target-not-healthy", "green is not healthy.", facts)
    page.goto(admin.url)
    page.get_by_role("button", name="Switch to ▲ green").click()
    page.locator("#confirm-go").click()
    _text(page, "#result", "green is not healthy.")
    _text(page, "#result", "answered: 503 <b>busy</b>")


def test_verify_shows_each_check(admin: Admin, page: Page) -> None:
    """Passed or not, in words."""
    admin.operations.passed = False
    page.goto(admin.url)
    page.get_by_role("button", name="Verify green").click()
    page.locator("#confirm-go").click()
    _text(page, "#result", "checks failed")
    _text(page, "#result", "✕ home")


def test_a_token_is_asked_for_kept_and_used(page: Page) -> None:
    """Typed in once for the tab; the event stream uses it too."""
    with admin_in_thread(tokens=tokens()) as admin:
        page.goto(admin.url)
        page.locator("#token input").fill(TOKENS[Role.SWITCH])
        page.get_by_role("button", name="Use it").click()
        _text(page, "h1", "● blue is live")
        _text(page, "#connection", "✓ live")
        page.reload()
        _text(page, "h1", "● blue is live")
        page.get_by_role("button", name="Switch to ▲ green").click()
        page.locator("#confirm-go").click()
        _text(page, "h1", "▲ green is live")
        assert admin.operations.calls[0][1]["actor"] == "switch"


def test_drain_and_bake_are_shown(admin: Admin, page: Page) -> None:
    """What is left, how long it takes, and what speaks against the release."""
    _everything_under_way(admin)
    page.goto(admin.url)
    _text(page, ".drain", "● blue drains: 3 requests and 1 tunnel still in flight")
    _text(page, ".bake", "Baking ▲ green: 9 min 30 s left")
    _text(page, ".evidence", "Evidence of harm 11.0 of 20. 12 of 1,500 requests failed, 0.80 %")
    levels = page.get_by_role("img", name=re.compile("evidence grows from 0.66 %, harm level 2.10"))
    playwright.expect(levels).to_be_visible()
    playwright.expect(page.get_by_role("button", name="Roll back to ● blue")).to_be_enabled()
    playwright.expect(page.get_by_role("button", name="Switch to")).to_be_hidden()


def _everything_under_way(admin: Admin) -> None:
    admin.operations.active, admin.operations.phase = "green", "draining"
    admin.operations.under_way = deployment()
    admin.operations.drain = {"environment": "blue", "requests": 3, "tunnels": 1, "seconds": 0.5}
    admin.operations.bake = {
        "environment": "green",
        "seconds": 30.0,
        "of_seconds": 600.0,
        "requests": 1500,
        "failures": 12,
        "evidence": 11.0,
        "evidence_needed": 20,
        "usual": 0.001,
        "break_even": 0.0066,
        "harm_level": 0.021,
    }


def test_a_switch_that_waits_can_be_approved(admin: Admin, page: Page) -> None:
    """It is said for what it waits and how long; the answer names the deployment."""
    until = (datetime.now(UTC) + timedelta(minutes=19, seconds=40)).isoformat()
    held = {"since": AT, "until": until, "on_timeout": "cancel"}
    admin.operations.phase = "verifying"
    admin.operations.under_way = deployment(actor="eve", applied_at=None, held=held)
    page.goto(admin.url)
    _text(page, ".progress", "waits for the approval of somebody other than eve: 19 min")
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Why").fill("looked at it")
    page.locator("#confirm-go").click()
    wait_for(lambda: bool(admin.operations.calls))
    ((what, asked),) = admin.operations.calls
    assert (what, asked["named"], asked["reason"]) == ("approved", 1, "looked at it")


def test_a_lock_is_shown_and_said_before_a_switch(admin: Admin, page: Page) -> None:
    """With its reason, and who to ask."""
    admin.operations.locked = {"reason": "audit week", "by": "eve", "since": AT, "until": None}
    page.goto(admin.url)
    _text(page, ".notes", "Locked by eve")
    _text(page, ".notes", "until somebody unlocks it: “audit week”")
    page.get_by_role("button", name="Switch to ▲ green").click()
    _text(page, "#confirm", "default is locked by eve: “audit week” The switch will be refused.")


def test_events_appear_as_they_happen(admin: Admin, page: Page) -> None:
    """And are announced to screen readers where they matter; markup in them stays text."""
    page.goto(admin.url)
    _text(page, "#connection", "✓ live")
    admin.publish("auto_rollback", "default", reason="<img src=x onerror=alert(1)>")
    _text(page, "#events", "default: auto rollback")
    _text(page, "#events", "<img src=x")
    _text(page, "#announcer", "default: auto rollback")


def test_a_deployment_has_a_page_of_its_own(admin: Admin, page: Page) -> None:
    """With the evidence that decided."""
    admin.operations.looks = [
        deployment(outcome="rolled_back", finished_at=AT, explanation={"bake": _BAKE})
    ]
    page.goto(admin.url)
    page.get_by_role("link", name=re.compile("switch: blue")).click()
    _text(page, "h1", "Deployment 1: switch of default to ▲ green")
    _text(page, ".outcome", "taken back")
    _text(page, ".deployment", "Harm means about 3.00 %; from 1.80 % on the evidence grows")
    image = page.get_by_role("img", name=re.compile("Evidence of harm: at the end 20"))
    playwright.expect(image).to_be_visible()
    _text(page, ".deployment svg", "harm level 3.00 %")


def test_everything_is_reached_by_keyboard(admin: Admin, page: Page) -> None:
    """Tab from the top meets the skip link, the token, and the service's buttons in order."""
    page.goto(admin.url)
    _text(page, "h1", "● blue is live")
    page.locator("body").evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert reached == [
        "Skip to the services",
        "bgproxy",
        "Token",
        "Verify green",
        "Switch to ▲ green",
        "Roll back to ▲ green",
        "Pause",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_assistive_technology(
    admin: Admin, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """axe-core finds nothing: steady, with everything under way, in a dialog, in the evidence."""
    context = browser.new_context(viewport={"width": 1280, "height": 1100}, color_scheme=scheme)
    page = context.new_page()
    page.goto(admin.url)
    _text(page, "#connection", "✓ live")
    _has_no_violation(page)
    page.get_by_role("button", name="Switch to ▲ green").click()
    _has_no_violation(page)
    page.keyboard.press("Escape")
    _everything_under_way(admin)
    _text(page, ".evidence", "Evidence of harm")
    _has_no_violation(page)
    admin.operations.looks = [deployment(outcome="rolled_back", explanation={"bake": _BAKE})]
    page.goto(f"{admin.url}/#/deployments/default/1")
    _text(page, ".deployment", "Harm means")
    _has_no_violation(page)
    admin.operations.names = ["default", "shop"]
    page.goto(f"{admin.url}/#/")
    _text(page, ".card", "is live")
    _has_no_violation(page)
    context.close()


def _has_no_violation(page: Page) -> None:
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_several_services_are_cards_that_lead_to_their_pages(admin: Admin, page: Page) -> None:
    """Who is live in each, and one click to the rest."""
    admin.operations.names = ["default", "shop"]
    page.goto(admin.url)
    playwright.expect(page.locator(".card")).to_have_count(2)
    _text(page, ".card", "● blue is live")
    page.get_by_role("link", name="shop").click()
    _text(page, "h1", "● blue is live")
    _text(page, "h1 .name", "shop")
    page.get_by_role("link", name="All services").click()
    playwright.expect(page.locator(".card")).to_have_count(2)


def test_a_release_that_was_taken_back_stays_in_sight(admin: Admin, page: Page) -> None:
    """Until the next deployment, whenever the page is opened."""
    reason = "158 failures, usual are 0.947 %: evidence 21.1 of 20.0"
    sides = {"from": "green", "to": "blue"}
    admin.operations.past = [
        deployment(id=2, kind="auto_rollback", reason=reason, applied_at=LATER, **sides),
        deployment(outcome="rolled_back"),
    ]
    page.goto(admin.url)
    _text(page, ".taken-back", "▲ green (v2) was taken back by itself")
    _text(page, ".taken-back", "1.50 s after its switch")
    _text(page, ".taken-back", reason)
    page.get_by_role("link", name="Charts, evidence and samples").click()
    _text(page, "h1", "Deployment 1")


def test_a_service_that_is_gone_may_come_back(admin: Admin, page: Page) -> None:
    """A reload took it away and another one brought it back; the page says both."""
    page.goto(f"{admin.url}/#/services/default")
    _text(page, "h1", "● blue is live")
    admin.operations.names = ["shop"]
    _text(page, ".problem", "There is no service 'default'.")
    admin.operations.names = ["default", "shop"]
    _text(page, "h1", "● blue is live")


def test_a_page_that_is_closed_leaves_nothing_behind(admin: Admin, browser: Browser) -> None:
    """Its event stream ends with it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(admin.url)
    _text(page, "#connection", "✓ live")
    wait_for(lambda: admin.server.subscribers == 1)
    context.close()
    wait_for(lambda: admin.server.subscribers == 0)


def test_a_proxy_that_is_gone_is_noticed(page: Page) -> None:
    """The page does not show yesterday's state as if it were today's."""
    with admin_in_thread() as admin:
        page.goto(admin.url)
        _text(page, "#connection", "✓ live")
    _text(page, "#connection", "✕ no answer from the proxy")


_NOTE_WHAT_IS_LIVE = """() => {
  window.shownAt = [];
  const note = () => {
    const text = document.querySelector("h1 .live")?.textContent;
    if (text !== shownAt.at(-1)?.[0]) shownAt.push([text, Date.now()]);
  };
  new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.mark.timeout(120)
def test_the_real_thing_switches_and_rolls_back_by_itself(page: Page) -> None:
    """A click moves the traffic; a failing release is taken back; the page shows it within 2 s."""
    with demo() as stage, visitors(f"{stage.traffic}/") as answered:
        page.goto(stage.dashboard)
        _text(page, "h1", "● blue is live")
        wait_for(lambda: len(answered) > 300)
        page.get_by_role("button", name="Switch to ▲ green").click()
        page.get_by_label("Why").fill("release 2")
        slow = threading.Thread(target=stage.visit, args=("/slow?seconds=5",))
        slow.start()
        _text(page, ".side.blue", "1 in flight")
        page.locator("#confirm-go").click()
        _text(page, "h1", "▲ green is live")
        seen = len(answered)
        wait_for(lambda: "green" in answered[seen:])
        _text(page, ".drain", "● blue drains: 1 request and 0 tunnels still in flight")
        slow.join()
        _text(page, ".bake", "Baking ▲ green")
        playwright.expect(page.locator(".drain")).to_have_count(0)
        page.evaluate(_NOTE_WHAT_IS_LIVE)
        stage.fail(0.5)
        playwright.expect(page.locator("#announcer")).to_contain_text(
            "auto rollback", timeout=60_000
        )
        _text(page, "h1", "● blue is live")
        _text(page, ".taken-back", "▲ green (v2) was taken back by itself")
        assert _seconds_until_shown(stage, page) < 2
        page.get_by_role("link", name="Charts, evidence and samples").click()
        _text(page, ".outcome", "taken back")
        _text(page, ".deployment", "server_error")


def _seconds_until_shown(stage: Demo, page: Page) -> float:
    """From the moment at which the pointer moved back to the one at which the page showed it."""
    client = AdminClient(stage.dashboard)
    applied = client.history("default", 1)[0]["applied_at"] or ""
    shown: float = page.evaluate("shownAt.find(([text]) => text === '● blue is live')[1]")
    return shown / 1000 - datetime.fromisoformat(applied).timestamp()
