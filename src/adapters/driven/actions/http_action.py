"""One HTTP request, under the outbound guard."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters.driven.actions.running import beating, refusing
from adapters.driven.actions.shown import masked, shown, target_name
from adapters.runtime.outbound import OutboundClient, OutboundFailed, OutboundRefused, OutboundReply
from core.domain.action_text import alert_values, form_text, json_text, plain_text, target_values, url_text
from core.domain.actions import Action, HttpAction
from core.domain.alerts import Alert
from core.domain.errors import InvalidInput
from ports.driven.action_runner import ActionError, ActionOutcome

ANSWER_CHARS_MAX: Final = 1_000
"""Enough for an error message; the audit trail keeps it for good."""
BODY_SHOWN_CHARS_MAX: Final = 4_000
REASON_CHARS_MAX: Final = 300
KEY_HEADER: Final = "Idempotency-Key"
_RETRYABLE: Final = frozenset({408, 425, 429})
"""The client was early or too fast, by RFC 9110, 8470 and 6585; all 5xx are retryable too."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    url: str
    headers: dict[str, str]
    shown_headers: dict[str, str]
    """The same with secrets by their names."""
    body: str | None


class HttpActionRunner:
    """Runs `HttpAction`s."""

    def __init__(self, client: OutboundClient) -> None:
        self._client = client

    def target(self, action: Action, alert: Alert) -> str:
        """Where the request goes: host, path and query."""
        assert isinstance(action, HttpAction)
        with refusing():
            url = url_text("url", action.url, target_values(alert))
        return target_name("http:" + url.partition("://")[2])

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:
        """The request as it would be sent; fails where the guard would not let it through."""
        request = _request(action, alert, secrets)
        try:
            await self._client.check_url("url", request.url)
        except InvalidInput as error:
            raise ActionError(f"the request would not be sent: {error.reason}", retryable=False) from None
        headers = {**request.shown_headers, KEY_HEADER: "one for each action, the same when it is repeated"}
        return ActionOutcome(
            summary=f"would send {request.method} {shown(request.url, chars_max=REASON_CHARS_MAX)}",
            changed=False,
            details={
                "method": request.method,
                "url": request.url,
                "headers": "\n".join(f"{name}: {value}" for name, value in headers.items()),
                **({} if request.body is None else {"body": shown(request.body, chars_max=BODY_SHOWN_CHARS_MAX)}),
            },
        )

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Sends the request, which carries `key`."""
        request = _request(action, alert, secrets)
        try:
            async with beating(heartbeat):
                reply = await self._client.request(
                    request.method,
                    request.url,
                    headers={**request.headers, KEY_HEADER: key},
                    body=None if request.body is None else request.body.encode(),
                    timeout_s=timeout_s,
                )
        except OutboundRefused as error:
            raise ActionError(masked(error.reason, secrets), retryable=False) from None
        except OutboundFailed as error:
            raise ActionError(masked(error.reason, secrets), retryable=True) from None
        return _outcome(request, reply, secrets)


def _outcome(request: _Request, reply: OutboundReply, secrets: Mapping[str, str]) -> ActionOutcome:
    answer = shown(masked(reply.body.decode(errors="replace"), secrets), chars_max=ANSWER_CHARS_MAX)
    host = request.url.partition("://")[2].partition("/")[0]
    said = f"{request.method} {host} answered {reply.status}"
    if 200 <= reply.status < 300:
        return ActionOutcome(
            summary=said,
            changed=True,
            details={"method": request.method, "url": request.url, "status": str(reply.status), "answer": answer},
        )
    if 300 <= reply.status < 400:
        said += ", a redirect; redirects are not followed"
    if (wait := reply.headers.get("retry-after", "")).isdecimal():
        said += f" and asks to wait {wait[:10]} s"
    raise ActionError(
        f"{said}: {answer[:REASON_CHARS_MAX]}" if answer else said,
        retryable=reply.status in _RETRYABLE or reply.status >= 500,
    )


def _request(action: Action, alert: Alert, secrets: Mapping[str, str]) -> _Request:
    assert isinstance(action, HttpAction)
    values = alert_values(alert)
    with refusing():
        _check_names([*action.headers, *action.secret_headers])
        headers = {name: _header(name, template, values) for name, template in action.headers.items()}
        shown_headers = dict(headers)
        for name, secret in action.secret_headers.items():
            if secret not in secrets:
                raise ActionError(f"the policy has no secret named {secret!r}", retryable=False)
            headers[name] = secrets[secret]
            shown_headers[name] = f"(the secret {secret})"
        body = None
        if action.body is not None:
            content_type = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
            if content_type is None:
                content_type = headers["Content-Type"] = shown_headers["Content-Type"] = "application/json"
            body = _body(content_type, action.body, values)
        return _Request(
            method=action.method,
            url=url_text("url", action.url, values),
            headers=headers,
            shown_headers=shown_headers,
            body=body,
        )


def _body(content_type: str, template: str, values: Mapping[str, object]) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return json_text("body", template, values)
    if media_type == "application/x-www-form-urlencoded":
        return form_text("body", template, values)
    return plain_text("body", template, values)


def _header(name: str, template: str, values: Mapping[str, object]) -> str:
    text = plain_text(f"headers.{name}", template, values)
    if not text.replace("\t", " ").isprintable():
        raise InvalidInput(f"headers.{name}", "contains control characters once filled in")
    return text


def _check_names(names: list[str]) -> None:
    lowered = [name.lower() for name in names]
    if KEY_HEADER.lower() in lowered:
        raise InvalidInput("headers", f"{KEY_HEADER} is set by Sextant")
    if len(set(lowered)) < len(lowered):
        raise InvalidInput("headers", "one name is given twice")
