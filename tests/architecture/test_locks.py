"""The lock files install the same thing everywhere."""

import re
import tomllib
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = ("runtime.txt", "embedded.txt", "dev.txt", "build.txt")
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;]+)(?P<rest>.*(?:\n    .*)*)", re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes(name: str) -> None:
    """pip refuses a file that differs from the one that was locked."""
    pins = list(PIN.finditer((REQUIREMENTS / name).read_text()))
    assert pins
    assert [pin["name"] for pin in pins if "--hash=sha256:" not in pin["rest"]] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_where_packages_come_from(name: str) -> None:
    """Mirrors that pip is configured for are honoured."""
    text = (REQUIREMENTS / name).read_text()
    assert re.findall(r"://|--(?:index-url|extra-index-url|find-links)", text) == []


@pytest.mark.parametrize("name", ["runtime.txt", "embedded.txt", "build.txt"])
def test_locks_agree_with_the_development_lock(name: str) -> None:
    """What is tested is what runs."""
    assert pins_of(name) <= pins_of("dev.txt")


def pins_of(name: str) -> set[tuple[str, str]]:
    """Names and versions."""
    return {(pin["name"], pin["version"]) for pin in PIN.finditer((REQUIREMENTS / name).read_text())}


def test_every_dependency_is_locked() -> None:
    """A package added to pyproject.toml without `make lock` would be missing from every fresh clone."""
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    names = {re.split(r"[^A-Za-z0-9._-]", text)[0].lower().replace(".", "-").replace("_", "-") for text in wanted}
    tools = {re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in project["optional-dependencies"]["dev"]}
    assert names <= {name for name, _ in pins_of("embedded.txt")}
    assert names | tools <= {name for name, _ in pins_of("dev.txt")}
