"""The errors the core raises, each carrying the data that a reply needs.

    SextantError
    ├── CallerError                 the caller's fault: mend the request
    │   ├── InvalidInput            a field is wrong; names it, says why
    │   ├── TooLarge                more than one request may hold
    │   ├── TooExpensive            a query that would read or answer too much
    │   ├── Unauthenticated         no key, or one that is not valid
    │   ├── Forbidden               a valid key without the right
    │   ├── NotFound                nothing of that name for this tenant
    │   ├── Conflict                it exists already, or differs from what exists
    │   └── RateLimited             the tenant is over its rate; says when to come back
    └── Unavailable                 a remote's fault: the same request may succeed later

Anything else that escapes is our bug.
"""


class SextantError(Exception):
    """The root: never raised itself."""


class CallerError(SextantError):
    """The request cannot succeed as it is."""


class InvalidInput(CallerError):
    """A field of the request is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class TooLarge(CallerError):
    """The request holds more than the limit."""

    def __init__(self, reason: str, *, limit: int) -> None:
        super().__init__(reason)
        self.limit = limit


class TooExpensive(CallerError):
    """The query would read, compute or answer more than the tenant's limit."""

    def __init__(self, reason: str, *, limit: float) -> None:
        super().__init__(reason)
        self.limit = limit


class Unauthenticated(CallerError):
    """No API key came with the request, or it is unknown, expired or revoked."""


class Forbidden(CallerError):
    """The key is valid and lacks the scope or the tenant for this."""


class NotFound(CallerError):
    """There is no such thing for this tenant."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"no {kind} named {name!r}")
        self.kind = kind
        self.name = name


class Conflict(CallerError):
    """The thing exists already, or a repeat differs from the first."""


class RateLimited(CallerError):
    """The tenant sends faster than its limit."""

    def __init__(self, reason: str, *, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Unavailable(SextantError):
    """The store cannot answer now; nothing of the request was kept."""

    def __init__(self, reason: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
