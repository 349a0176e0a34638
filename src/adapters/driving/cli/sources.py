"""`sextant sources`: where metrics are collected from by themselves."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, RefusedError, Server, UsageError, with_api
from adapters.driving.cli.collect_source import WANTED, source_here
from adapters.driving.cli.collect_summary import write_summary
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, clean, moment_text, present, span_text, write_line, write_rows
from adapters.driving.cli.output import write, write_error, write_json
from adapters.runtime.vendors import credentials_of
from core.domain.collection import CollectionRun, CollectionRunDetail
from core.domain.errors import InvalidInput
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource

HELP: Final = f"""Set up metric sources that the server collects from by itself, and see what
it collected.

These commands ask a running server; changing needs a key with the scope admin,
reading query or ingest. Credentials are encrypted by the server and never shown
again.

{EXITS}"""
PATH: Final = "/api/v1/sources"
LIMIT_DEFAULT: Final = 20
BY_FILE: Final = (
    "its cluster is the server's own; `sextant sources apply FILE` adds one, "
    "where FILE says {name: eks, config: {type: eks, cluster_id: NAME}}"
)
Kind = Literal["datadog", "cloudwatch", "newrelic", "hawkeye", "eks", "prometheus", "synthetic"]
Name = Annotated[str, Parameter(name="NAME", help="From `sextant sources list`.", negative="")]


def sources_app() -> App:
    """The commands under `sextant sources`."""
    app = App(name="sources", help=HELP)
    app.command(list_, name="list")
    app.command(add)
    app.command(show)
    app.command(apply)
    app.command(remove)
    app.command(runs)
    app.command(run)
    return app


def list_(*, server: Server = HERE, json: Json = False) -> int:
    """List metric sources, by name."""

    async def work(api: Api) -> None:
        if json:
            write_json(await api.all(PATH, dict[str, Any]))
            return
        found = await api.all(PATH, StoredSource)
        if not found:
            write("no metric sources; `sextant sources add synthetic` adds one to try, `sextant collect` collects once")
        else:
            now = present()
            columns = ("name", "kind", "every", "state", "next run", "credentials")
            write_rows(columns, [_row(one, now) for one in found], wide=("credentials",))

    return with_api(server, work)


def add(
    kind: Annotated[Kind, Parameter(name="KIND", negative="")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="What it is called. Default: its kind.")] = None,
    every: Annotated[str, Parameter(help="How often it is collected, such as 5m.")] = "5m",
    query: Annotated[
        tuple[str, ...],
        Parameter(help="As for `sextant collect`; repeatable.", negative="", show_default=False),
    ] = (),
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Add a source that is described by this machine's environment, in the
    vendors' own variables (`sextant collect --help` lists them).

    For example:

        sextant sources add synthetic --every 1m
        DATADOG_API_KEY=… DATADOG_APP_KEY=… sextant sources add datadog
    """

    async def work(api: Api) -> None:
        source = SourceKind(kind)
        found = source_here(source, queries=query)
        if found is None:
            hint = f"set {WANTED[source]}" if source in WANTED else BY_FILE
            raise UsageError(f"nothing here describes a source of {kind}: {hint}")
        if "session_token" in found.credentials:
            write_error("these AWS credentials are temporary; where they end, `sextant sources apply` brings others")
        body = {"name": name or kind, "interval": every, "config": found.config, "credentials": found.credentials}
        _report(await api.send("POST", PATH, StoredSource, body), json=json, done="added")

    return with_api(server, work)


def show(name: Name, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show a source, as YAML that `apply` takes; its credentials by name only."""

    async def work(api: Api) -> None:
        found = await api.get(_place(name), StoredSource)
        if json:
            write_json(found)
        else:
            from adapters.driving.cli.yaml_source import dump_yaml

            if found.credential_names:
                write_line(f"# credentials, encrypted by the server: {', '.join(found.credential_names)}")
            write(dump_yaml(msgspec.to_builtins(found.spec)).rstrip())

    return with_api(server, work)


def apply(
    file: Annotated[
        Path, Parameter(name="FILE", help="YAML or JSON; - is standard input.", allow_leading_hyphen=True, negative="")
    ],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Add or replace a source as a file says: its name, config, interval and
    limits, as `show` prints them.

    Credentials come from this machine's environment; without any there a source
    keeps those that it has.

    For example:

        sextant sources show prometheus > prometheus.yaml
        sextant sources apply prometheus.yaml
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.yaml_source import read_yaml

        document = read_yaml(file).value
        spec = _spec(document)
        try:
            credentials = credentials_of(spec.kind, os.environ)
        except ValueError as error:
            raise UsageError(str(error)) from error
        body = {**document, **({"credentials": credentials} if credentials else {})}
        try:
            await api.get(_place(spec.name), StoredSource)
        except RefusedError as error:
            if error.status != 404:
                raise
            _report(await api.send("POST", PATH, StoredSource, body), json=json, done="added")
            return
        _report(await api.send("PUT", _place(spec.name), StoredSource, body), json=json, done="replaced")

    return with_api(server, work)


def remove(name: Name, /, *, server: Server = HERE) -> int:
    """Remove a source; what was collected stays."""

    async def work(api: Api) -> None:
        await api.delete(_place(name))
        write_line(f"removed {clean(name)}; what it collected stays")

    return with_api(server, work)


def runs(
    name: Annotated[str | None, Parameter(name="NAME", help="Only of this source.", negative="")] = None,
    /,
    *,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List what was collected, newest first."""

    async def work(api: Api) -> None:
        about = [("source", name)] if name is not None else []
        found, more = await api.first(f"{PATH}/runs", CollectionRun, about, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no runs yet; `sextant collect synthetic` makes one" if name is None else f"no runs of {clean(name)}")
        else:
            now = present()
            columns = ("run", "source", "state", "asked", "took", "fetched", "stored", "failed", "problem")
            write_rows(columns, [_run_row(one, now) for one in found], wide=("problem",))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def run(
    number: Annotated[int, Parameter(name="RUN", help="From `sextant sources runs`.", negative="")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show one run, with its items."""

    async def work(api: Api) -> None:
        found = await api.get(f"{PATH}/runs/{number}", CollectionRunDetail)
        if json:
            write_json(found)
        else:
            now = present()
            asked = f"asked for by {found.run.requested_by}, {moment_text(found.run.requested_at, now)}"
            write_line(f"run {found.run.id} of {clean(found.run.source)}: {found.run.state.value}, {asked}")
            write_summary([found], {})

    return with_api(server, work)


def _spec(document: object) -> SourceSpec:
    """The document as a source; raises `UsageError`."""
    try:
        return msgspec.convert(document, SourceSpec)
    except InvalidInput as error:
        raise UsageError(str(error)) from error
    except msgspec.ValidationError as error:
        raise UsageError(f"the file is no metric source: {error}") from error


def _report(source: StoredSource, *, json: bool, done: str) -> None:
    if json:
        write_json(source)
        return
    often = f"every {source.spec.interval}" if source.spec.interval is not None else "when asked for"
    words = f"{done} {clean(source.spec.name)}, a source of {source.spec.kind.value}, collected {often}"
    write_line(f"{words}; what comes of it: sextant sources runs {clean(source.spec.name)}")


def _place(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def _row(one: StoredSource, now: datetime) -> tuple[str, ...]:
    spec = one.spec
    due = age_text(one.next_run_at, now) if one.next_run_at is not None and spec.enabled else "-"
    state = "enabled" if spec.enabled else "disabled"
    return (spec.name, spec.kind.value, spec.interval or "-", state, due, ", ".join(one.credential_names) or "-")


def _run_row(one: CollectionRun, now: datetime) -> tuple[str, ...]:
    took = "-"
    if one.started_at is not None and one.finished_at is not None:
        took = span_text((one.finished_at - one.started_at).total_seconds())
    counts = one.progress.counts
    return (
        str(one.id),
        one.source,
        one.state.value + (f", attempt {one.attempts}" if one.attempts > 1 else ""),
        age_text(one.requested_at, now),
        took,
        f"{counts.fetched:,}",
        f"{counts.stored:,}",
        f"{one.progress.failed:,}",
        one.problem.message if one.problem is not None else "-",
    )
