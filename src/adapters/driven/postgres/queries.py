"""Named queries from `.sql` files: ``-- name: x`` opens one, a comment of one line says what it is for."""

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Queries:
    """The queries of one file, by name."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> "object":
        return iter(self._texts)


def affected_rows(done: str) -> int:
    """How many rows a command's tag counts."""
    return int(done.rsplit(" ", 1)[-1])


@cache
def load_queries(package: str, file: str) -> Queries:
    """The queries of `file` in `package`; read once."""
    parts = _NAME.split(resources.files(package).joinpath(file).read_text(encoding="utf-8"))
    return Queries(dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True)))
