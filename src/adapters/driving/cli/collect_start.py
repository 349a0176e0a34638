"""Putting runs of collection in line: of a source that is described here, or of those that the server knows."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from adapters.driving.cli.api import Api, RefusedError, UsageError
from adapters.driving.cli.collect_source import WANTED, credentials_from, source_here, sources_here
from adapters.driving.cli.output import write_error
from core.domain.collection import CollectionRunDetail, OneOffSource, Problem, ProblemKind
from core.domain.source_configs import SourceKind

PATH: Final = "/api/v1/ingest"
ALL: Final = "all"


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers, and what --json prints: runs, and by source why there is none."""

    runs: list[CollectionRunDetail]
    errors: dict[str, Problem] = {}


class Started(Collected, frozen=True, kw_only=True):
    """The runs that were put in line here."""

    origins: dict[int, Sequence[str]] = {}
    """By run: where its credentials came from."""


async def start(
    api: Api, source: str, request: dict[str, Any], queries: Sequence[str], instances: int | None
) -> Started:
    """Puts the runs in line; raises `UsageError` where nothing describes such a source, here or at the server."""
    if source == ALL:
        if queries or instances is not None:
            raise UsageError("--query and --instances go with one source, not with all")
        return await _start_all(api, request)
    kind = SourceKind(source)
    if instances is not None and kind is not SourceKind.SYNTHETIC:
        raise UsageError("--instances goes with synthetic")
    found = source_here(kind, queries=queries, instances=instances)
    if found is not None:
        return await _once(api, kind, found, request)
    if queries:
        raise UsageError(f"--query needs a source that is described here: set {WANTED[kind]}")
    try:
        answer = await _post(api, source, request)
    except RefusedError as error:
        if not _is_nothing(error) or kind not in WANTED:
            raise
        raise UsageError(
            f"nothing describes a source of {source}: set {WANTED[kind]}, here or where the server starts, "
            "or add one for good with `sextant sources`"
        ) from error
    return Started(runs=answer.runs, errors=answer.errors)


async def _start_all(api: Api, request: dict[str, Any]) -> Started:
    """The server's sources, and those that only this machine's environment describes."""
    here, in_part = sources_here()
    runs: list[CollectionRunDetail] = []
    errors: dict[str, Problem] = {}
    origins: dict[int, Sequence[str]] = {}
    nothing: RefusedError | None = None
    try:
        known = await _post(api, ALL, request)
        runs += known.runs
        errors.update(known.errors)
    except RefusedError as error:
        if not _is_nothing(error):
            raise
        nothing = error
    there = {run.run.kind for run in runs}
    for kind in [kind for kind in here if kind not in there]:
        try:
            found = source_here(kind)
            if found is not None:
                started = await _once(api, kind, found, request)
                runs += started.runs
                origins.update(started.origins)
        except (RefusedError, UsageError) as error:
            errors[kind.value] = Problem(kind=ProblemKind.CONFIGURATION, message=str(error))
    for kind, why in in_part.items():
        if kind not in there:
            write_error(f"{kind.value} is left out: {why}")
    if nothing is not None and not runs and not errors:
        raise UsageError(
            "nothing describes a source: set a vendor's variables, here or where the server starts (sextant collect "
            "--help lists them), or add a source for good with `sextant sources add`"
        ) from nothing
    return Started(runs=runs, errors=errors, origins=origins)


def _is_nothing(error: RefusedError) -> bool:
    """Whether the server refuses because it knows of no such source, and not what was asked of it."""
    return error.status == 400 and str(error).startswith("source: there is none")


async def _once(api: Api, kind: SourceKind, found: OneOffSource, request: dict[str, Any]) -> Started:
    """Puts a run of a source in line that the server forgets when it ends."""
    body = {**request, "config": found.config, "credentials": found.credentials}
    answer = await _post(api, kind.value, body)
    origins = credentials_from(kind) if found.credentials else ()
    return Started(runs=answer.runs, origins={run.run.id: origins for run in answer.runs})


async def _post(api: Api, source: str, body: dict[str, Any]) -> Collected:
    answer = await api.send("POST", f"{PATH}/{source}", Collected, body, [("wait", "0s")])
    begun = {detail.run.source for detail in answer.runs}
    errors = {name: problem for name, problem in answer.errors.items() if name not in begun}  # those, runs tell
    return Collected(runs=answer.runs, errors=errors)
