"""`sextant rules`: alert rules as code."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import threshold_text, write_rows
from adapters.driving.cli.import_prometheus import import_prometheus, write_file
from adapters.driving.cli.output import write, write_error, write_json
from adapters.driving.cli.rules_apply import DryRun, Prune, Yes, apply_document
from core.domain.rules import AlertRule, RuleMode, RuleOrigin, Threshold

if TYPE_CHECKING:
    from adapters.driving.cli.rule_document import StoredRule

HELP: Final = f"""List alert rules, and keep them as code: apply, export, import.

These commands ask a running server; they need a key with the scope alerts,
or query to read, and for remediation policies remediate.

{EXITS}"""


def rules_app() -> App:
    """The commands under `sextant rules`."""
    app = App(name="rules", help=HELP)
    app.command(list_, name="list")
    app.command(apply)
    app.command(export)
    app.command(import_prometheus)
    return app


def list_(*, server: Server = HERE, json: Json = False) -> int:
    """List the rules, those included that metric definitions' thresholds are.

    For example:

        sextant rules list
    """
    from adapters.driving.cli.rule_document import StoredRule
    from adapters.driving.cli.rule_plan import RULES_PATH

    async def work(api: Api) -> None:
        rules = await api.all(RULES_PATH, StoredRule)
        if json:
            write_json(rules)
        elif not rules:
            write("no rules, so nothing is watched; `sextant rules apply FILE.yaml` adds some (see its --help)")
        else:
            columns = ("id", "name", "watches", "warning", "critical", "for", "is", "then")
            write_rows(columns, [_row(rule) for rule in rules], wide=("name", "watches", "then"))

    return with_api(server, work)


def apply(
    file: Annotated[
        Path, Parameter(name="FILE", help="A YAML document, or - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    prune: Prune = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Make the server's rules and remediation policies what a YAML document says:
    first shows what would change, then changes that and nothing else. Repeating
    it changes nothing. Rules of metric definitions are never touched.

    The document has a list `rules`, whose fields are those of the API, and may
    have a list `policies`, of remediation policies without secrets:

        rules:
          - name: disk full
            metric: disk.used_percent
            matchers: ["mount!=/boot"]
            aggregation: avg
            window: 5m
            condition: ">"
            warning: 80
            critical: 95
            for: 10m
            annotations:
              summary: "{{ labels.host }} is at {{ value | round(1) }} %"
            channels: [on-call]

    For example:

        sextant rules apply rules.yaml --dry-run
        sextant rules apply rules.yaml --prune --yes
    """
    from adapters.driving.cli.rule_document import read_document

    async def work(api: Api) -> int:
        return await apply_document(api, read_document(file), prune=prune, dry_run=dry_run, yes=yes, as_json=json)

    return with_api(server, work)


def export(
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"), help="The file to write, instead of printing.")] = None,
    server: Server = HERE,
) -> int:
    """Print the server's rules and remediation policies as the YAML document that
    `sextant rules apply` takes. Rules of metric definitions, and secrets, are not
    in it.

    For example:

        sextant rules export -o rules.yaml
    """
    from adapters.driving.cli.rule_document import RuleDocument, StoredPolicy, StoredRule, dump_document
    from adapters.driving.cli.rule_plan import POLICIES_PATH, RULES_PATH

    async def work(api: Api) -> None:
        rules = [one.rule for one in await api.all(RULES_PATH, StoredRule) if one.origin is RuleOrigin.API]
        policies = [one.policy for one in await api.all(POLICIES_PATH, StoredPolicy)]
        text = dump_document(RuleDocument(tuple(rules), tuple(policies)))
        if out is None:
            write(text.rstrip("\n"))
        else:
            write_file(out, text)
            write_error(f"wrote {len(rules)} rules and {len(policies)} policies to {out}")

    return with_api(server, work)


def _row(stored: "StoredRule") -> Sequence[str]:
    state = ("shadow" if stored.mode is RuleMode.SHADOW else "on") if stored.enabled else "off"
    return (
        str(stored.id),
        stored.name,
        watched_text(stored),
        _limit(stored, stored.warning),
        _limit(stored, stored.critical),
        stored.for_ or "-",
        state,
        stored.remediation or "-",
    )


def watched_text(rule: AlertRule) -> str:
    """What a rule compares, such as ``avg cpu{host=a} over 5m by host``."""
    matchers = f"{{{', '.join(rule.matchers)}}}" if rule.matchers else ""
    text = f"{rule.metric}{matchers}"
    if rule.window is not None:
        text = f"{rule.aggregation.value} {text} over {rule.window}"
    if rule.group_by is not None:
        text += f" by {', '.join(rule.group_by)}" if rule.group_by else " of all"
    return text


def _limit(rule: AlertRule, threshold: Threshold | None) -> str:
    return "-" if threshold is None else f"{rule.condition.value} {threshold_text(threshold)}"
