"""How parameters are described: filters say what only they let through, each with an example."""

from litestar.openapi.spec import Example
from litestar.params import QueryParameter


def example(value: object) -> list[Example]:
    """One example, named by itself."""
    return [Example(summary=str(value), value=value)]


def only(what: str, value: object, *, name: str | None = None, chars_max: int | None = None) -> QueryParameter:
    """A filter; `name` where the handler calls it otherwise."""
    return QueryParameter(name=name, description=f"Only {what}.", max_length=chars_max, examples=example(value))


def only_instant(what: str, value: str) -> QueryParameter:
    """A filter by an instant."""
    return QueryParameter(
        description=f"Only {what}, RFC 3339 with a zone.", format="date-time", examples=example(value)
    )
