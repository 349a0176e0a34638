"""`sextant rules import-prometheus`: rule files of Prometheus, as far as they are plain thresholds."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from adapters.driving.cli.api import EXIT_FAILED, EXIT_OK, EXIT_USAGE, HERE, Api, Server, with_api
from adapters.driving.cli.display import clean
from adapters.driving.cli.output import CommandError, write, write_error
from adapters.driving.cli.rules_apply import DryRun, Yes, apply_document

if TYPE_CHECKING:
    from adapters.driving.cli.prometheus_rules import Imported
    from adapters.driving.cli.rule_document import RuleDocument


def import_prometheus(
    file: Annotated[
        Path, Parameter(name="FILE", help="A Prometheus rule file, or - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=("--out", "-o"), help="The file to write the rules to, instead of printing them.")
    ] = None,
    apply: Annotated[
        bool, Parameter(negative="", help="Apply them to the server, as `sextant rules apply` does.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    server: Server = HERE,
) -> int:
    """Translate a Prometheus rule file (or a Kubernetes PrometheusRule) into rules
    of Sextant, as far as its expressions are plain thresholds: a metric, or its
    avg, min, max, sum, count, last, quantile (0.5, 0.9, 0.95, 0.99) over time,
    rate or increase, compared with a number; also sums, minima and maxima of
    those by labels where that means the same here. Rules of one name that differ
    in severity and threshold only become one rule with both.

    What cannot be translated is listed with its reason, never guessed. Prints
    the YAML that `sextant rules apply` takes; the report goes to standard error.

    Good to know: Sextant judges every sample when it comes, so evaluation
    intervals have no counterpart; an alert resolves with a good sample, not when
    samples stay away; rate and increase are not extrapolated.

    Exit codes: 0 every alerting rule was translated; 1 some were not, or the
    server refused some; 2 the file, the key or the URL is wrong.

    For example:

        sextant rules import-prometheus rules.yml > sextant-rules.yaml
        sextant rules import-prometheus rules.yml --apply --dry-run
    """
    from adapters.driving.cli.prometheus_rules import import_rules
    from adapters.driving.cli.rule_document import RuleDocument, dump_document
    from adapters.driving.cli.yaml_source import read_yaml

    try:
        imported = import_rules(read_yaml(file, texts_only=True))
        document = RuleDocument(imported.rules)
        if out is not None:
            write_file(out, dump_document(document))
    except CommandError as error:
        write_error(str(error))
        return EXIT_USAGE
    if out is None and not apply:
        write(dump_document(document).rstrip("\n"))
    _report(imported, lambda line: sys.stderr.write(f"{line}\n"))
    status = EXIT_FAILED if imported.refused else EXIT_OK
    return max(status, _apply(document, server, dry_run=dry_run, yes=yes)) if apply else status


def _apply(document: "RuleDocument", server: Server, *, dry_run: bool, yes: bool) -> int:
    async def work(api: Api) -> int:
        return await apply_document(api, document, prune=False, dry_run=dry_run, yes=yes, as_json=False)

    return with_api(server, work)


def _report(imported: "Imported", say: Callable[[str], object]) -> None:
    rules = len(imported.rules) + imported.merged
    say(f"{rules} of {rules + len(imported.refused)} alerting rules translated, into {len(imported.rules)} rules")
    if imported.refused:
        say("\nNot translated:")
    for one in imported.refused:
        say(f"  {clean(one.name)}  ({one.place})\n    {clean(one.expression)}\n    {clean(one.reason)}")
    if imported.recording:
        say(f"\nSkipped {len(imported.recording)} recording rules: {clean(', '.join(imported.recording))}")
    if imported.notes:
        say("\nTranslated, but:")
    for note in imported.notes:
        say(f"  {clean(note)}")


def write_file(path: Path, text: str) -> None:
    """Writes a document; raises `CommandError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
