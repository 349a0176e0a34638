"""`sextant detect`: what is unusual in a file of samples, or in what a server has stored."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import HERE, Server
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import write_rows
from adapters.driving.cli.output import CommandError, write, write_error, write_json
from core.domain.times import format_duration, format_time

if TYPE_CHECKING:
    from core.detection.classic import Finding
    from core.detection.forecast import Forecast
    from core.detection.streaming_alert import Alert

ROWS_MAX: Final = 5_000_000
"""Findings are of all rows at once, some 200 bytes each on the way; --scores has no limit."""
EXIT_USAGE: Final = 2
SHOWN_DEFAULT: Final = 50
SINCE_DEFAULT: Final = "48h"
"""What scheduled detection looks at by default."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One finding as --json prints it: times in RFC 3339, numbers in the unit of the values."""

    detector: str
    risk: float
    start: str
    """The first row of what was looked at."""
    at: str
    """The last one: for the streaming detector the row that raised the alert."""
    baseline_start: str | None
    baseline_end: str | None
    statistic: float
    usual_low: float
    usual_high: float
    text: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """When the limit is reached, as --json prints it; null where not inside the horizon."""

    limit: float
    horizon: str
    """How far ahead is looked, such as 30d."""
    outlook: str
    at: str | None
    earliest: str | None
    latest: str | None
    slope_per_day: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `sextant detect --json` prints."""

    series: str
    rows: int
    findings: list[Found]
    forecast: Expected | None


def detect(
    *,
    csv: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    scores: Annotated[bool, Parameter(negative=())] = False,
    name: str | None = None,
    limit: Annotated[float | None, Parameter(allow_leading_hyphen=True)] = None,
    falling: Annotated[bool, Parameter(negative=())] = False,
    metric: str | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    since: str | None = None,
    until: str | None = None,
    detector: Annotated[tuple[Literal["variance", "spike", "trend", "streaming"], ...], Parameter(negative="")] = (),
    show: Annotated[int, Parameter(validator=Number(gte=1))] = SHOWN_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Find what is unusual in a file of samples, or in what a server has stored.

    Without --csv a running server looks at its stored samples now: at one
    --metric or at all, over --since 48h. Nothing is recorded and nobody is told;
    `sextant anomalies` lists what scheduled detection found by itself.

    A file is CSV, timestamp,value a line, the header optional; - is standard
    input. Times are RFC 3339, or YYYY-MM-DD HH:MM:SS, which means UTC.

    Findings come from the classic three (variance, spike, trend), which look at
    the whole file, and from the streaming detector, which takes one row after
    the other and never looks ahead. Each has a risk from 0 to 1; the streaming
    detector alerts from 0.5 on.

    With --scores the streaming detector's risk of every row is printed as soon
    as the row is read, and nothing else.

    For example:

        sextant detect --metric cpu --label env=prod --since 48h
        sextant detect --csv cpu.csv
        sextant detect --csv disk_used_percent.csv --limit 95
        tail -f cpu.csv | sextant detect --csv - --scores

    Exit status: 0 when everything was looked at; 1 when the server could not;
    2 when an option, the key or the file is wrong, with the line's number.

    Parameters
    ----------
    csv
        The file of samples.
    scores
        Print one risk a row.
    name
        The series' name in findings, by default the file's.
    limit
        Also say when the series reaches this value, with a band.
    falling
        The limit is a floor, such as free space, instead of a ceiling.
    metric
        Of the server: only this metric.
    label
        Of the server: only series that satisfy host=a, host!=a, host=~a.* or
        host!~a.*; may be repeated.
    since
        Of the server: how far back, such as 6h, 48h or 7d. Default: 48h.
    until
        Of the server: the end, RFC 3339 with a zone. Default: now.
    detector
        Of the server: only these; may be repeated.
    show
        Of the server: how many findings to print at most.
    """
    if csv is None:
        if scores or name is not None or limit is not None or falling:
            write_error("--scores, --name, --limit and --falling go with --csv")
            return EXIT_USAGE
        from adapters.driving.cli.detect_stored import detect_stored

        return detect_stored(
            metric,
            label,
            since=since or SINCE_DEFAULT,
            end=until,
            detectors=detector,
            limit=show,
            server=server,
            as_json=json,
        )
    try:
        if metric is not None or label or since is not None or until is not None or detector or server != HERE:
            raise CommandError("with --csv no server is asked: leave --metric, --label, --since and the like away")
        _check_options(scores=scores, json=json, limit=limit, falling=falling)
        if scores:
            _print_scores(csv)
        else:
            _say(_report(csv, name, limit, falling=falling), as_json=json)
    except CommandError as error:
        write_error(str(error))
        return EXIT_USAGE
    return 0


def _check_options(*, scores: bool, json: bool, limit: float | None, falling: bool) -> None:
    if scores and (json or limit is not None):
        raise CommandError("--scores prints numbers only: leave --json and --limit away")
    if falling and limit is None:
        raise CommandError("--falling says what --limit is: name a --limit")
    if limit is not None and not abs(limit) < float("inf"):
        raise CommandError("--limit must be a finite number")


def _print_scores(path: str) -> None:
    from adapters.driving.cli.series_csv import read_rows
    from core.detection.streaming import StreamingDetector

    detector = StreamingDetector()
    for ts_us, value in read_rows(path):
        write(f"{detector.update(ts_us, value):.6g}")


def _report(path: str, name: str | None, limit: float | None, *, falling: bool) -> Report:
    import numpy as np

    from adapters.driving.cli.replay_source import name_of
    from adapters.driving.cli.series_csv import BadRowError, read_rows
    from core.detection.classic import classic_three
    from core.detection.forecast import ForecastParameters, forecast
    from core.detection.streaming import StreamingDetector

    detector = StreamingDetector()
    instants_us: list[int] = []
    levels: list[float] = []
    alerts: list[Alert] = []
    for ts_us, value in read_rows(path):
        if len(levels) == ROWS_MAX:
            raise BadRowError(path, ROWS_MAX + 1, f"more than {ROWS_MAX} samples; --scores takes any number")
        instants_us.append(ts_us)
        levels.append(value)
        detector.update(ts_us, value)
        if detector.alert is not None:
            alerts.append(detector.alert)
    series = name or name_of(path)
    times, values = np.array(instants_us, np.int64), np.array(levels, np.float64)
    expected = None
    if limit is not None:
        parameters = ForecastParameters(falling=falling)
        expected = _expected(limit, parameters.horizon_us, forecast(times, values, limit, parameters))
    return Report(
        series=series,
        rows=len(levels),
        findings=[_classic(found, series) for found in classic_three(times, values)]
        + [_streamed(alert, series) for alert in alerts],
        forecast=expected,
    )


def _classic(found: "Finding", series: str) -> Found:
    return Found(
        detector=found.detector,
        risk=found.risk,
        start=format_time(found.window.start_us),
        at=format_time(found.window.end_us - 1),
        baseline_start=None,
        baseline_end=None,
        statistic=found.observed,
        usual_low=found.baseline,
        usual_high=found.baseline,
        text=found.text(series),
    )


def _streamed(alert: "Alert", series: str) -> Found:
    return Found(
        detector=f"streaming:{alert.component}",
        risk=alert.risk,
        start=format_time(alert.window.start_us),
        at=format_time(alert.ts_us),
        baseline_start=format_time(alert.baseline.start_us),
        baseline_end=format_time(alert.baseline.end_us),
        statistic=alert.statistic,
        usual_low=alert.usual_low,
        usual_high=alert.usual_high,
        text=alert.text(series),
    )


def _expected(limit: float, horizon_us: int, found: "Forecast") -> Expected:
    at, earliest, latest = (
        None if moment_us is None else format_time(moment_us)
        for moment_us in (found.at_us, found.earliest_us, found.latest_us)
    )
    return Expected(
        limit=limit,
        horizon=format_duration(horizon_us),
        outlook=found.outlook,
        at=at,
        earliest=earliest,
        latest=latest,
        slope_per_day=found.slope_per_day,
    )


def _say(report: Report, *, as_json: bool) -> None:
    if as_json:
        write_json(report)
        return
    if report.findings:
        rows = [(found.at, found.detector, f"{found.risk:.2f}", found.text) for found in report.findings]
        write_rows(("at", "detector", "risk", "finding"), rows, wide={"finding"})
    else:
        write(f"nothing unusual in {report.rows} rows of {report.series}")
    if report.forecast is not None:
        write(_forecast_text(report.forecast))


def _forecast_text(expected: Expected) -> str:
    """One sentence: when, and between when and when."""
    what = f"limit {expected.limit:g}"
    match expected.outlook:
        case "reached":
            return f"{what}: reached"
        case "unknown":
            return f"{what}: too few rows to tell"
        case "within":
            until = f"to {expected.latest}" if expected.latest else "on, no latest date"
            return f"{what}: {expected.at}, from {expected.earliest} {until}"
        case _:
            when = "never" if expected.outlook == "never" else f"not within {expected.horizon}"
            early = f", at the earliest {expected.earliest}" if expected.earliest else ""
            return f"{what}: {when} as things go{early}"
