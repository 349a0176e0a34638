"""The page behind a signed link: what would be done, and two buttons. Opening it never acts.

Chat previews and mail scanners open links, so only the form that a person sends decides. The token is all the right
that it takes: there is no API key, and whoever holds the link may answer.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from litestar.types import ExceptionHandlersMap

from adapters.driving.http.approval_html import POLICY
from adapters.driving.http.approval_page import decided_page, failure_page, request_page
from adapters.driving.http.failures import HANDLERS
from adapters.driving.http.guards import ServicesDependency, known_query
from adapters.driving.http.policies import TAG
from adapters.driving.http.problem import UNSUPPORTED, ProblemDetails, RequestError
from adapters.driving.http.query_string import parse_query
from core.domain.approval_link import PATH
from core.domain.errors import InvalidInput

FORM: Final = "application/x-www-form-urlencoded"
HTML: Final = "text/html"
TOKEN_CHARS_MAX: Final = 1_000
"""Several times what a token of ours takes."""
ANSWERS: Final = {"approve": True, "reject": False}
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}
"""The address holds the right to answer: nothing may keep it, pass it on or frame the page."""

AnyRequest = Request[Any, Any, Any]
Token = Annotated[
    str,
    QueryParameter(
        description="The token of the link, as it stands in the notification.",
        min_length=1,
        max_length=TOKEN_CHARS_MAX,
        examples=[Example(summary="a token", value="AAAAAAAAAAIAAAAAAAAABQ")],
    ),
]


class AnswerForm(msgspec.Struct, frozen=True):
    """What the page's buttons send."""

    token: str
    answer: str
    """`approve` or `reject`."""


def _page_of(handler: Any) -> Callable[[AnyRequest, Exception], Response[str]]:
    """`handler`, with its problem as a page: a person looks at it."""

    def failed(request: AnyRequest, error: Exception) -> Response[str]:
        answer: Response[bytes] = handler(request, error)
        problem = msgspec.json.decode(answer.content, type=ProblemDetails)
        headers = {**answer.headers, **HEADERS}
        return Response(failure_page(problem), status_code=problem.status, media_type=HTML, headers=headers)

    return failed


PAGES: Final[ExceptionHandlersMap] = {kind: _page_of(handler) for kind, handler in HANDLERS.items()}


class ApprovalController(Controller):
    """Needs no key but the link's own token."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    security: Sequence[dict[str, list[str]]] = []  # the same
    guards = [known_query]  # noqa: RUF012  # the same
    exception_handlers = PAGES

    @get("/", operation_id="show_decision", summary="The page of a signed link", media_type=HTML)
    async def show(self, services: ServicesDependency, token: Token) -> Response[str]:
        """Shows what would be done, by which policy and about which alert, with a button to approve and one to reject.
        Opening it does neither. No API key: the token, which notifications carry, is the right to answer."""
        page = request_page(await services.remediations.open_link(token), token)
        return Response(page, media_type=HTML, headers=HEADERS)

    @post("/", operation_id="decide_by_link", summary="Answer by a signed link", media_type=HTML, status_code=200)
    async def decide(self, request: AnyRequest, services: ServicesDependency) -> Response[str]:
        """Takes the page's form and shows what becomes of it; a conflict where the remediation does not wait any
        more."""
        form = await _form(request)
        approved = ANSWERS[form.answer]
        remediation = await services.remediations.decide_by_link(form.token, approved=approved)
        return Response(decided_page(remediation, approved=approved), media_type=HTML, headers=HEADERS)


async def _form(request: AnyRequest) -> AnswerForm:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise RequestError(UNSUPPORTED, f"send the page's form, {FORM}")
    fields = dict(parse_query(await request.body(), single=("token", "answer")))
    token, answer = fields.get("token", ""), fields.get("answer", "")
    if not 1 <= len(token) <= TOKEN_CHARS_MAX:
        raise InvalidInput("token", f"must have 1 to {TOKEN_CHARS_MAX} characters")
    if answer not in ANSWERS:
        raise InvalidInput("answer", f"must be one of {', '.join(ANSWERS)}")
    return AnswerForm(token, answer)
