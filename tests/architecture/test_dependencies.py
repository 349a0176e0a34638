"""Who may import whom, and that the literal package names are ours."""

import importlib
import os
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "ports", "adapters")


def test_imports_point_inward(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every contract in pyproject.toml holds."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.path", [os.fspath(ROOT / "src")])
    status = lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_resolves_under_src(name: str) -> None:
    """No installed package of the same name is imported instead of ours."""
    module = importlib.import_module(name)
    assert [Path(place) for place in module.__path__] == [ROOT / "src" / name]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_owns_the_name(name: str) -> None:
    """Nothing installed beside Sextant brings a top-level package of that name."""
    assert set(packages_distributions().get(name, ())) <= {"sextant-metrics"}


def test_package_files_are_empty() -> None:
    """Nothing happens when a package is imported."""
    written = [path for name in PACKAGES for path in (ROOT / "src" / name).rglob("__init__.py") if path.read_text()]
    assert written == []


def test_every_folder_is_a_package() -> None:
    """A folder with modules has an __init__.py, so that every tool finds them."""
    folders = {path.parent for name in PACKAGES for path in (ROOT / "src" / name).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
