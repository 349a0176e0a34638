"""What a user can set or call is written down where a user looks."""

import re
from pathlib import Path

import pytest

from adapters.main import command_line
from adapters.runtime.environment import Setting, settings_of
from adapters.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = settings_of(Settings)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_a_setting_is_in_the_example_environment(setting: Setting) -> None:
    """`.env.example` has its name, its default and its meaning."""
    text = (ROOT / ".env.example").read_text()
    assert setting.meaning in text
    if setting.variable == "SEXTANT_BOOTSTRAP_API_KEY":
        assert re.search(r"^SEXTANT_BOOTSTRAP_API_KEY=local-only", text, re.MULTILINE)
    else:
        assert f"#{setting.variable}={setting.text_of(setting.default)}\n" in text


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_a_setting_is_in_the_readme(setting: Setting) -> None:
    """README's table has its name, its default and its meaning."""
    default = setting.text_of(setting.default)
    row = f"| `{setting.variable}` | {f'`{default}`' if default else ''} | {setting.meaning} |"
    assert re.sub(r" +", " ", row) in re.sub(r" +", " ", (ROOT / "README.md").read_text())


def test_the_example_environment_has_no_other_settings() -> None:
    """A name that was removed or misspelt does not stay behind."""
    named = set(re.findall(r"^#?(SEXTANT_[A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == {setting.variable for setting in SETTINGS}


def test_every_command_is_in_the_readme() -> None:
    """README names each `sextant …`."""
    text = (ROOT / "README.md").read_text()
    commands = [name for name in command_line() if not name.startswith("-")]
    assert [name for name in commands if f"`sextant {name}" not in text] == []
    assert len(commands) >= 10
