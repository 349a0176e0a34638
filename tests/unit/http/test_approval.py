"""The page behind a signed link: it says everything, runs nothing, and only its form decides."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
import msgspec
import pytest

from core.domain.actions import (
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
    WaitAction,
)
from core.domain.errors import Unavailable
from core.domain.remediation import (
    MetricCheck,
    RemediationPolicy,
    RemediationState,
    Risk,
    Step,
    Verification,
)
from core.domain.rules import Condition
from tests.unit.http.alert_fakes import ALERT
from tests.unit.http.conftest import World
from tests.unit.http.fakes import raised_by
from tests.unit.http.remediation_fakes import REMEDIATION, TOKEN

PATH = "/api/v1/remediations/decide"
MARKUP = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += re.sub(r"\s+", " ", data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(response: httpx.Response, status: int) -> Page:
    """The page that a reply is, after checking what protects it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    page = Page(response.text)
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert response.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("h1")) == len(page.of("main")) == 1
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "h1", "h2", "p", "dl", "dt", "dd"),
        *("ol", "li", "strong", "span", "br", "div", "pre", "form", "input", "button"),
    }
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("style", "src", "href")}, tag
    return page


@pytest.fixture
async def browser(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client without a key."""
    del client.headers["x-api-key"]
    return client


async def test_the_page_says_what_would_be_done(world: World, browser: httpx.AsyncClient) -> None:
    """Which alert, which policy, every step and what comes after it, with a form of two buttons."""
    world.remediations.policy = RemediationPolicy(
        name="restart checkout",
        description="The known leak.",
        dry_run=False,
        steps=(
            Step(name="drain", action=WaitAction(duration="30s"), risk=Risk.LOW),
            Step(name="restart", action=RestartAction(namespace="shop", deployment="{{ labels.host }}")),
            Step(
                name="shrink",
                action=SetContainerAction(namespace="shop", deployment="web", container="app", memory_request="1Gi"),
            ),
            Step(
                name="tell",
                risk=Risk.HIGH,
                action=HttpAction(
                    url="https://example.com/{{ labels.host }}?a=1",
                    headers={"X-Rule": "{{ rule }}"},
                    secret_headers={"Authorization": "token"},
                    body='{"value": {{ value }}}',
                ),
            ),
        ),
        verification=Verification(
            within="3m", check=MetricCheck(metric="errors", condition=Condition.BELOW, value=1.5)
        ),
        rollback=(Step(name="back", action=ScaleAction(namespace="shop", deployment="web", delta=-2)),),
    )
    page = page_of(await browser.get(PATH, params={"token": TOKEN}), 200)
    for said in (
        "Approve this remediation?",
        "Remediation 1 of tenant acme.",
        "restart checkout",
        "The known leak.",
        "busy",
        "Set container app of deployment shop/web, which replaces its pods",
        "Memory request",
        "1Gi",
        "critical",
        "97.5, threshold 95",
        "host=web-1",
        "2026-01-31 12:00:00 UTC",
        "web-1 is busy",
        "Wait for 30s",
        "Restart the pods of deployment shop/web-1",
        "Send POST https://example.com/web-1?a=1",
        "Header X-Rulebusy",
        "Header Authorization(the secret token)",
        '{"value": 97.5}',
        "high risk",
        "for up to 3m whether errors < 1.5; if not, it rolls back as below",
        "by -2, but not below 1 or above 50",
        "within 1h of being asked",
    ):
        assert said in page.text, said
    assert page.of("form") == [{"method": "post", "action": "decide"}]
    assert page.of("input") == [{"type": "hidden", "name": "token", "value": TOKEN}]
    assert [(button["name"], button["value"]) for button in page.of("button")] == [
        ("answer", "approve"),
        ("answer", "reject"),
    ]


async def test_looking_decides_nothing(world: World, browser: httpx.AsyncClient) -> None:
    """However often previews and scanners open the link, by whatever method does not post the form."""
    for _ in range(3):
        page_of(await browser.get(PATH, params={"token": TOKEN}), 200)
        await browser.head(PATH, params={"token": TOKEN})
        await browser.get(PATH, params={"token": TOKEN, "answer": "approve"})
    assert world.remediations.by_id[1].state is RemediationState.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ("approve", RemediationState.RUNNING, "goes on with it now"),
        ("reject", RemediationState.REJECTED, "Nothing is done"),
    ],
)
async def test_the_form_decides_once(
    world: World, browser: httpx.AsyncClient, answer: str, state: RemediationState, said: str
) -> None:
    """The result is a page; a second answer is told that it came too late; the link then shows how it stands."""
    form = {"token": TOKEN, "answer": answer}
    page = page_of(await browser.post(PATH, data=form), 200)
    assert said in page.text
    assert world.remediations.by_id[1].state is state
    assert "does not wait" in page_of(await browser.post(PATH, data=form), 409).text
    after = page_of(await browser.get(PATH, params={"token": TOKEN}), 200)
    assert "There is nothing to approve" in after.text
    assert after.of("form") == after.of("button") == []


@pytest.mark.parametrize("state", RemediationState)
async def test_every_state_has_its_words(world: World, browser: httpx.AsyncClient, state: RemediationState) -> None:
    """And only one that waits for approval has buttons."""
    world.remediations.by_id[1] = msgspec.structs.replace(REMEDIATION, state=state, detail="the cause.")
    page = page_of(await browser.get(PATH, params={"token": TOKEN}), 200)
    assert bool(page.of("form")) is (state is RemediationState.AWAITING_APPROVAL)
    assert ("the cause." in page.text) is (state is not RemediationState.AWAITING_APPROVAL)


@pytest.mark.parametrize(
    ("token", "answer", "status"),
    [
        ("forged", "approve", 404),
        ("", "approve", 400),
        ("x" * 1_001, "approve", 400),
        (TOKEN, "", 400),
        (TOKEN, "maybe", 400),
        (TOKEN, None, 400),
        (None, "approve", 400),
    ],
)
async def test_what_is_no_answer_decides_nothing(
    world: World, browser: httpx.AsyncClient, token: str | None, answer: str | None, status: int
) -> None:
    """A page says so; nothing of the token is in it."""
    form = {name: value for name, value in (("token", token), ("answer", answer)) if value is not None}
    page = page_of(await browser.post(PATH, data=form), status)
    assert "forged" not in page.text
    assert page.of("form") == []
    assert world.remediations.by_id[1].state is RemediationState.AWAITING_APPROVAL
    if answer == "approve":
        params = {} if token is None else {"token": token}
        page_of(await browser.get(PATH, params=params), status)


async def test_only_a_form_is_taken(world: World, browser: httpx.AsyncClient) -> None:
    """Nothing that another site's script could send as something else."""
    page_of(await browser.post(PATH, json={"token": TOKEN, "answer": "approve"}), 415)
    page_of(await browser.post(PATH, content=f"token={TOKEN}&answer=approve"), 415)
    twice = {"content-type": "application/x-www-form-urlencoded"}
    page_of(await browser.post(PATH, content=f"token={TOKEN}&answer=reject&answer=approve", headers=twice), 400)
    page_of(await browser.post(PATH, content=b"token=%ff", headers=twice), 400)
    assert world.remediations.by_id[1].state is RemediationState.AWAITING_APPROVAL


async def test_failures_are_pages_too(world: World, browser: httpx.AsyncClient) -> None:
    """With the status that they have, and when to try again."""
    raised_by(world.remediations, error=Unavailable("the database is away", retry_after_s=3))
    response = await browser.get(PATH, params={"token": TOKEN})
    assert "Try again in a moment" in page_of(response, 503).text
    assert response.headers["retry-after"] == "3"
    raised_by(world.remediations, error=ZeroDivisionError("secret detail"))
    page = page_of(await browser.post(PATH, data={"token": TOKEN, "answer": "approve"}), 500)
    assert "secret detail" not in page.text
    assert "A bug in Sextant" in page.text


async def test_nothing_that_is_filled_in_is_markup(world: World, browser: httpx.AsyncClient) -> None:
    """Labels, names, templates, details and the token are text wherever they stand."""
    steps = tuple(
        Step(name=MARKUP, action=action)
        for action in (
            HttpAction(
                url="https://example.com/{{ labels.host }}",
                headers={"X-Host": "{{ labels.host }}"},
                secret_headers={"Authorization": MARKUP},
                body=MARKUP + "{{ labels.host }}",
            ),
            RestartAction(namespace=MARKUP, deployment="{{ labels.host }}"),
            DeletePodAction(namespace=MARKUP, pod="{{ labels.host }}"),
            PatchHpaAction(namespace=MARKUP, name="{{ labels.host }}", replicas_max=3),
            ScaleAction(namespace=MARKUP, deployment="{{ labels.host }}", replicas=3),
            SetContainerAction(namespace=MARKUP, deployment="{{ labels.host }}", container=MARKUP, cpu_limit="1"),
            CommandAction(command=MARKUP, arguments=("{{ labels.host }}",)),
            AnnotateAction(text="{{ labels.host }}"),
        )
    )
    world.remediations.policy = RemediationPolicy(
        name=MARKUP,
        description=MARKUP,
        steps=steps,
        rollback=steps[:1],
        verification=Verification(check=MetricCheck(metric="a", condition=Condition.INSIDE, value=(1.0, 2.0))),
    )
    world.remediations.alert = msgspec.structs.replace(
        ALERT, rule=MARKUP, labels={"host": MARKUP, MARKUP: MARKUP}, annotations={MARKUP: MARKUP}
    )
    for state in (RemediationState.AWAITING_APPROVAL, RemediationState.FAILED):
        world.remediations.by_id[1] = msgspec.structs.replace(
            REMEDIATION, state=state, rule=MARKUP, policy=MARKUP, detail=MARKUP
        )
        response = await browser.get(PATH, params={"token": TOKEN})
        assert page_of(response, 200).text.count(MARKUP) > 15
        assert "<script" not in response.text
    world.remediations.by_id[1] = msgspec.structs.replace(REMEDIATION, rule=MARKUP, policy=MARKUP)
    response = await browser.post(PATH, data={"token": TOKEN, "answer": "approve"})
    assert page_of(response, 200).text.count(MARKUP) == 2
    assert MARKUP not in (await browser.get(PATH, params={"token": MARKUP})).text


async def test_a_text_that_cannot_be_filled_in_says_so(world: World, browser: httpx.AsyncClient) -> None:
    """The person sees the template and the reason, not a failure."""
    step = Step(name="call", action=HttpAction(url="https://example.com/{{ labels.absent }}"))
    world.remediations.policy = RemediationPolicy(name="call", steps=(step,))
    page = page_of(await browser.get(PATH, params={"token": TOKEN}), 200)
    assert "https://example.com/{{ labels.absent }} (cannot be filled in:" in page.text
