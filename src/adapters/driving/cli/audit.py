"""`sextant audit`: the trail of what was decided, approved, done and changed."""

import re
from typing import Annotated, Final

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXIT_FAILED, EXIT_OK, HERE, Api, Limit, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from adapters.driving.cli.story import AuditLine
from ports.driving.remediating import AuditVerdict

HELP: Final = """List and verify the audit trail: what was decided, approved, done and changed.

Entries are only ever added; each one's hash covers its content and the hash
before it. It is the trail of the key's tenant; a key with the scope
remediate, alerts or query reads it.

Exit codes: 0 done; 1 not, or the chain does not hold, the reason is printed;
2 wrong usage, key or URL."""
PATH: Final = "/api/v1/audit"
LIMIT_DEFAULT: Final = 50
SEARCHED_MAX: Final = 100_000
"""Entries read in search of a hash, a thousand at a time; an older one is to be looked up by other means."""

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


def audit_app() -> App:
    """The commands under `sextant audit`."""
    app = App(name="audit", help=HELP)
    app.command(list_, name="list")
    app.command(verify)
    return app


def list_(
    *,
    alert: Annotated[int | None, Parameter(help="Only entries about the alert with this id.")] = None,
    remediation: Annotated[int | None, Parameter(help="Only entries about the remediation with this id.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List entries, newest first.

    For example:

        sextant audit list --remediation 7
    """

    async def work(api: Api) -> None:
        about = {"alert": alert, "remediation": remediation}
        parameters = [(name, str(number)) for name, number in about.items() if number is not None]
        found, more = await api.first(PATH, AuditLine, parameters, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no entries" + (" about that" if parameters else " yet: nothing was changed and nothing repaired"))
        else:
            rows = [(str(one.sequence), date_text(one.at), one.kind.value, one.actor, one.summary) for one in found]
            write_rows(("entry", "at", "kind", "by", "what"), rows, wide=("what",))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def verify(
    *,
    expect: Annotated[
        str | None, Parameter(help="A hash noted earlier: it must be in the chain, so nothing before it changed.")
    ] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Recompute the whole chain and say whether it holds. Note the head's hash
    somewhere else: with --expect it proves later that nothing before it was
    changed or removed, not even by whoever can write to the database.

    For example:

        sextant audit verify
        sextant audit verify --expect "$(cat noted-head)"
    """

    async def work(api: Api) -> int:
        wanted = None if expect is None else expect.strip().lower()
        if wanted is not None and not _HASH.match(wanted):
            raise UsageError("--expect takes a hash of 64 hexadecimal digits, as `sextant audit verify` prints it")
        verdict = await api.get(f"{PATH}/verify", AuditVerdict)
        place, searched = (None, 0) if wanted is None else await _find(api, wanted)
        holds = verdict.broken is None and (wanted is None or place is not None)
        if json:
            write_json({"verdict": verdict, "holds": holds, "expected": wanted, "expected_sequence": place})
        else:
            _write_verdict(verdict)
            if wanted is not None:
                _write_expected(wanted, place, searched, verdict)
        return EXIT_OK if holds else EXIT_FAILED

    return with_api(server, work)


async def _find(api: Api, wanted: str) -> tuple[int | None, int]:
    """The entry with that hash, newest first, and how many were looked at."""
    entries, _ = await api.first(PATH, AuditLine, [], limit=SEARCHED_MAX)
    return next((one.sequence for one in entries if one.hash == wanted), None), len(entries)


def _write_verdict(verdict: AuditVerdict) -> None:
    entries = f"{verdict.entries:,} {'entry' if verdict.entries == 1 else 'entries'}"
    if verdict.broken is not None:
        write_line(
            f"BROKEN: entry {verdict.broken.sequence} of tenant {verdict.tenant} {verdict.broken.reason}",
            style="bold red",
        )
        write(f"{entries} before it hold")
        return
    write_line(f"the chain holds: {entries} of tenant {verdict.tenant}", style="green")
    write(f"head  {verdict.head or 'none yet'}")


def _write_expected(wanted: str, place: int | None, searched: int, verdict: AuditVerdict) -> None:
    if place is not None:
        after = verdict.entries - place
        write(f"the hash given is that of entry {place:,}, {after:,} before the head: nothing up to it has changed")
    elif searched >= SEARCHED_MAX:
        write_line(f"the hash given is not among the newest {searched:,} entries; older ones were not searched")
    else:
        write_line(f"NOT THERE: no entry has the hash {wanted}, so something before it changed", style="bold red")
