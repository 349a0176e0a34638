"""`sextant explain`: which service made things go wrong, from metrics on standard input and the service graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from adapters.driving.cli.database import Json
from adapters.driving.cli.output import write, write_error, write_json
from core.domain.times import TimeRange, format_time, parse_duration, parse_time

if TYPE_CHECKING:
    from adapters.driving.cli.explain_input import Observed
    from core.detection.causes import Suspect


def explain(
    *,
    at: Annotated[str, Parameter(help="When it began: RFC 3339 with a zone.")],
    dependencies: Annotated[Path, Parameter(help="A CSV file of call edges; its first line is client,server.")],
    before: Annotated[str, Parameter(help="How far before that is compared with.")] = "1h",
    after: Annotated[str, Parameter(help="How far after it is looked at.")] = "5m",
    json: Json = False,
) -> int:
    """Read metrics on standard input and print the services suspected of what
    began at --at, most likely first, one a line. --json adds the evidence.

    The metrics are NDJSON in the shape that the server takes, one a line, in any
    order, gzipped or not. A series belongs to the service in its label `service`
    (replicas: `pod`, `instance`, `host` or `container`), or to a call edge by its
    labels `client` and `server`; `side` says which of both measured it.

    For example:

        sextant explain --at 2026-01-31T12:00:00Z --dependencies calls.csv < metrics.ndjson

    Exit status: 0 also when nobody is suspected; 1 when a line of the input is
    wrong; 2 when an option is missing.
    """
    from adapters.driving.cli.explain_input import STDIN, read_dependencies, read_observed
    from core.detection.causes import rank_causes
    from core.detection.service_graph import service_graph

    at_us = parse_time(at, "--at")
    before_us, after_us = parse_duration(before, "--before"), parse_duration(after, "--after")
    calls = read_dependencies(dependencies)
    observed = read_observed(STDIN, TimeRange(at_us - before_us, at_us + after_us))
    _warn(observed, calls, at_us)
    graph = service_graph(calls.values())
    suspects = rank_causes(observed.series, graph, at_us, before_us=before_us, after_us=after_us)
    if json:
        span = {"start": format_time(at_us - before_us), "end": format_time(at_us + after_us)}
        counted = {"series": len(observed.series), "samples": observed.samples}
        write_json({"at": format_time(at_us), **span, **counted, "suspects": [_document(one) for one in suspects]})
    else:
        for suspect in suspects:
            write(suspect.service)
    return 0


def _warn(observed: "Observed", calls: dict[int, tuple[str, str]], at_us: int) -> None:
    """Says on standard error what weakens the answer, each unmeasured service by its first line."""
    if not observed.measured(before_us=at_us):
        write_error("no sample of a service or call edge lies before --at, so there is nothing to compare with")
    if not observed.measured(from_us=at_us):
        write_error("no sample of a service or call edge lies at or after --at, so there is nothing to explain")
    unmeasured = {service: number for number, call in reversed(calls.items()) for service in call}
    for service, number in sorted(unmeasured.items(), key=lambda named: named[1]):
        if service not in observed.services:
            write_error(f"dependencies, line {number}: no metric of this time is of the service {service!r}")


def _document(suspect: "Suspect") -> dict[str, Any]:
    """A suspect as JSON, with times as the wire has them."""
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(suspect)
    for evidence in document["evidence"]:
        first_us = evidence.pop("first_us")
        evidence["first_at"] = None if first_us is None else format_time(first_us)
    return document
