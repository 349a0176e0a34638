"""What docs/remediation.md shows is taken as it stands, and it leaves out no action and no field."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import yaml

from core.domain.actions import Action
from core.domain.remediation import MetricCheck, RemediationPolicy, RemediationState, Step, Verification

TEXT = (Path(__file__).parents[2] / "docs/remediation.md").read_text()
EXAMPLES = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def kind_of(example: str) -> type[object]:
    """What an example is an example of."""
    fields = msgspec.json.decode(example)
    if "type" in fields:
        return Action  # type: ignore[return-value]  # msgspec takes a union for a type
    return RemediationPolicy if "steps" in fields else Verification if "within" in fields else MetricCheck


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(example: str) -> None:
    """Actions, too, within a policy, which checks their templates."""
    found = msgspec.json.decode(example, type=kind_of(example))
    if isinstance(found, Action):
        RemediationPolicy(name="p", steps=(Step(name="s", action=found),))
    elif isinstance(found, Verification):
        RemediationPolicy(name="p", steps=(Step(name="s", action=wait()),), verification=found)
    elif isinstance(found, MetricCheck):
        RemediationPolicy(name="p", steps=(Step(name="s", action=wait()),), preconditions=(found,))


def wait() -> Action:
    """The least of actions."""
    return msgspec.json.decode('{"type": "wait", "duration": "1s"}', type=Action)  # type: ignore[no-any-return]  # a union


def test_every_action_and_field_is_named() -> None:
    """Also those that are added later."""
    names = [action.__struct_config__.tag for action in get_args(Action)]
    for struct in (*get_args(Action), RemediationPolicy, Step, MetricCheck, Verification):
        names += struct.__struct_fields__
    names += [state.value for state in RemediationState]
    missing = [name for name in names if f"`{name}" not in TEXT and f'"{name}"' not in TEXT]
    assert missing == []


def test_defaults_are_as_the_policy_has_them() -> None:
    """The table says what happens when a field is left out."""
    policy = RemediationPolicy(name="p", steps=(Step(name="s", action=wait()),))
    for field in ("approval_timeout", "cooldown", "actions_per_hour_max", "actions_per_target_per_hour_max"):
        value = getattr(policy, field)
        assert f"| `{field}` | {f'`{value}`' if isinstance(value, str) else value} |" in TEXT
    for field in ("approval", "approval_above"):
        assert f"| `{field}` | `{getattr(policy, field).value}` |" in TEXT
    assert "| `dry_run` | `true` |" in TEXT
    assert policy.dry_run


def test_the_cluster_role_is_yaml() -> None:
    """Two documents: the role and its binding."""
    [block] = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    role, binding = yaml.safe_load_all(block)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
