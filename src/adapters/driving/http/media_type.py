"""Whether a body says that it is JSON."""

from collections.abc import Mapping

from adapters.driving.http.problem import UNSUPPORTED, RequestError

_ACCEPT = ((b"accept-post", b"application/json"),)


def check_json(headers: Mapping[bytes, bytes]) -> None:
    """Raises `RequestError` where ``Content-Type`` is there and is not JSON in UTF-8."""
    content_type = headers.get(b"content-type", b"application/json")
    if content_type == b"application/json":
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.decode("latin-1").split(";"))
    kind, _, subtype = media_type.partition("/")
    if kind != "application" or not (subtype == "json" or subtype.endswith("+json")):
        detail = f"Content-Type {media_type[:64]!r} is not read here; send application/json"
        raise RequestError(UNSUPPORTED, detail, headers=_ACCEPT)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            detail = f"charset {value[:64]!r} is not read here; send UTF-8"
            raise RequestError(UNSUPPORTED, detail, headers=_ACCEPT)
