"""What a running server finds in its stored samples now."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.driving.cli.api import Api, Server, with_api
from adapters.driving.cli.display import write_rows
from adapters.driving.cli.output import date_text, write, write_json

if TYPE_CHECKING:
    from adapters.driving.http.detection_replies import DetectionReply, SeriesFindingReply


def detect_stored(
    metric: str | None,
    matchers: Sequence[str],
    *,
    since: str,
    end: str | None,
    detectors: Sequence[str],
    limit: int,
    server: Server,
    as_json: bool,
) -> int:
    """Asks a server and prints its findings, the highest risk first; the exit status."""
    body: dict[str, Any] = {"metric": metric, "matchers": list(matchers), "since": since, "end": end}
    if detectors:
        body["detectors"] = list(detectors)

    from adapters.driving.http.detection_replies import DetectionReply

    async def work(api: Api) -> None:
        found = await api.send("POST", "/api/v1/detect", DetectionReply, body)
        if as_json:
            write_json(found)
        else:
            _write(found, limit)

    return with_api(server, work)


def _write(found: "DetectionReply", limit: int) -> None:
    looked = f"{found.samples} samples of {found.series} series, {date_text(found.start)} to {date_text(found.end)}"
    if not found.findings:
        write(f"nothing unusual in {looked}" if found.series else f"no series match: {looked}")
        return
    shown = found.findings[:limit]
    write_rows(("at", "detector", "risk", "finding"), [_row(one) for one in shown], wide={"finding"})
    if len(shown) < found.findings_total:
        write(f"and {found.findings_total - len(shown)} more; --show and --json show them")
    write(f"looked at {looked}")


def _row(one: "SeriesFindingReply") -> tuple[str, ...]:
    finding = one.finding
    component = f":{finding.component}" if finding.component else ""
    at = finding.moments[-1].at if finding.moments else finding.end
    return date_text(at), finding.detector.value + component, f"{finding.risk:.2f}", one.text
