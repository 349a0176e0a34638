"""What a benchmark found: figures to read and checks against targets, as tables or as JSON."""

from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table


class Figure(msgspec.Struct, frozen=True):
    """One measured number: the median of its repeats."""

    name: str
    unit: str
    repeats: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.repeats)


class Check(msgspec.Struct, frozen=True):
    """A claim with its target; `measured` is a ratio or has the unit the claim names."""

    claim: str
    at: Literal["least", "most"]
    target: float
    measured: float

    @property
    def passed(self) -> bool:
        """Whether the target is met."""
        return self.measured >= self.target if self.at == "least" else self.measured <= self.target


class Report(msgspec.Struct):
    """One benchmark on one engine."""

    benchmark: str
    engine: str
    setting: str
    figures: list[Figure] = []
    checks: list[Check] = []

    def figure(self, name: str, unit: str, repeats: Sequence[float]) -> float:
        """Add a figure and return its median."""
        self.figures.append(Figure(name, unit, tuple(repeats)))
        return median(repeats)

    def check(self, claim: str, measured: float, *, least: float | None = None, most: float | None = None) -> None:
        """Add a check against exactly one of the two bounds."""
        if least is not None:
            self.checks.append(Check(claim, "least", least, measured))
        if most is not None:
            self.checks.append(Check(claim, "most", most, measured))


def as_json(reports: Sequence[Report]) -> str:
    """Return all reports as JSON, with the medians and verdicts written out."""
    document = [
        {
            **msgspec.to_builtins(report),
            "figures": [{**msgspec.to_builtins(figure), "value": figure.value} for figure in report.figures],
            "checks": [{**msgspec.to_builtins(check), "passed": check.passed} for check in report.checks],
        }
        for report in reports
    ]
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def show(report: Report, console: Console) -> None:
    """Print a report as one table of figures and one of checks."""
    title = f"{report.benchmark} · {report.engine} · {report.setting}"
    figures = Table("figure", "unit", "median", "repeats", title=title, title_justify="left")
    for figure in report.figures:
        repeats = "  ".join(number(value) for value in figure.repeats) if len(figure.repeats) > 1 else ""
        figures.add_row(figure.name, figure.unit, number(figure.value), repeats)
    console.print(figures)
    if report.checks:
        checks = Table("target", "wanted", "measured", "")
        for check in report.checks:
            sign, verdict = (
                "≥" if check.at == "least" else "≤",
                "[green]pass" if check.passed else "[red]FAIL",
            )
            checks.add_row(check.claim, f"{sign} {number(check.target)}", number(check.measured), verdict)
        console.print(checks)


def number(value: float) -> str:
    """Return a number with the digits worth reading."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
