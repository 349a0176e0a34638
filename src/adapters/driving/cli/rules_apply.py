"""Shows what a document would change, asks, and changes it."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from adapters.driving.cli.api import EXIT_FAILED, EXIT_OK, Api
from adapters.driving.cli.display import clean, write_line
from adapters.driving.cli.output import write, write_error, write_json

if TYPE_CHECKING:
    from adapters.driving.cli.rule_document import RuleDocument
    from adapters.driving.cli.rule_plan import Change, Failure, Plan

Prune = Annotated[
    bool,
    Parameter(negative="", help="Remove what the document does not name, of the lists (rules, policies) that it has."),
]
DryRun = Annotated[bool, Parameter(negative="", help="Only show what would change.")]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), negative="", help="Do not ask, on a terminal.")]


async def apply_document(
    api: Api, document: "RuleDocument", *, prune: bool, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Makes the server what `document` says, once whoever sits at the terminal has agreed; the exit status."""
    from adapters.driving.cli.rule_plan import carry_out, make_plan

    plan = await make_plan(api, document, prune=prune)
    if not as_json:
        write_plan(plan)
    failures: list[Failure] = []
    applied = bool(plan.changes) and not dry_run and (yes or as_json or _agreed())
    if applied:
        failures = await carry_out(api, plan.changes)
    if as_json:
        write_json(_report(plan, failures, applied=applied))
    elif applied:
        _write_result(plan, failures)
    elif plan.changes:
        write("nothing was changed: a dry run" if dry_run else "nothing was changed")
    declined = bool(plan.changes) and not applied and not dry_run
    return EXIT_FAILED if failures or declined else EXIT_OK


def write_plan(plan: "Plan") -> None:
    """Prints what would change."""
    from adapters.driving.cli.rule_plan import Verb

    marks = {Verb.ADD: ("+", "green"), Verb.CHANGE: ("~", "yellow"), Verb.REMOVE: ("-", "red")}
    for change in plan.changes:
        mark, style = marks[change.verb]
        note = " (its open alerts resolve)" if change.resolves else ""
        write_line(f"{mark} {change.kind} {clean(change.name)}{note}", style=style)
        for field in change.fields:
            before, after = _value_text(field.before), _value_text(field.after)
            write_line(f"    {clean(field.field)}: {before} → {after}", indent=6)
    words = [f"{_count(plan, verb)} to {verb.value}" for verb in Verb if _count(plan, verb)]
    words.append(f"{plan.unchanged} unchanged")
    if plan.left_alone:
        words.append(f"{plan.left_alone} on the server that the document does not name (--prune removes them)")
    write(("nothing to do: " if not plan.changes else "") + ", ".join(words))


def _write_result(plan: "Plan", failures: "list[Failure]") -> None:
    failed = {id(failure.change) for failure in failures}
    done = [change for change in plan.changes if id(change) not in failed]
    if not failures:
        write(f"applied: {len(done)} of {len(plan.changes)}")
        return
    for change in done:
        write(f"applied: {_what(change)}")
    for failure in failures:
        write_error(f"NOT applied: {_what(failure.change)}: {clean(failure.reason)}")
    write_error(f"{len(done)} of {len(plan.changes)} were applied; mend the rest and repeat")


def _report(plan: "Plan", failures: "list[Failure]", *, applied: bool) -> dict[str, Any]:
    reasons = {id(failure.change): failure.reason for failure in failures}
    return {
        "applied": applied,
        "changes": [
            {
                "change": change.verb.value,
                "kind": change.kind,
                "name": change.name,
                "fields": list(change.fields),
                "resolves_open_alerts": change.resolves,
                "error": reasons.get(id(change)),
            }
            for change in plan.changes
        ],
        "unchanged": plan.unchanged,
        "left_alone": plan.left_alone,
    }


def _agreed() -> bool:
    """Whether the person at the terminal says yes; where there is none, whoever wrote the script has."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    sys.stdout.write("Apply this? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _what(change: "Change") -> str:
    return f"{change.verb.value} {change.kind} {clean(change.name)}"


def _count(plan: "Plan", verb: object) -> int:
    return sum(change.verb is verb for change in plan.changes)


def _value_text(value: Any) -> str:
    return "not set" if value is None else clean(msgspec.json.encode(value).decode())
