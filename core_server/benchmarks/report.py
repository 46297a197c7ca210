"""What a suite found: a table for people, JSON for programs, a line for docs/benchmarks.md."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_FILE_WIDTH = 130


@dataclass(frozen=True)
class Target:
    """What the figure must reach: "at most" or "at least" `bound`, in the row's unit."""

    kind: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether `value` reaches it."""
        return value <= self.bound if self.kind == "at most" else value >= self.bound


def at_most(bound: float) -> Target:
    """A target from above."""
    return Target("at most", bound)


def at_least(bound: float) -> Target:
    """A target from below."""
    return Target("at least", bound)


@dataclass(frozen=True)
class Row:
    """One figure. value: None if it could not be measured, and then `note` says why.

    headline: stands in the line for the documentation.
    """

    name: str
    value: float | None
    unit: str = ""
    target: Target | None = None
    note: str = ""
    headline: bool = False

    @property
    def passed(self) -> bool | None:
        """None without a target or a value."""
        if self.target is None or self.value is None:
            return None
        return self.target.holds(self.value)

    @property
    def shown(self) -> str:
        """Value and unit, rounded for reading."""
        if self.value is None:
            return "-"
        return f"{_rounded(self.value)} {self.unit}".strip()


@dataclass
class Report:
    """All rows of one suite. details: whatever a program may want beside them; must be JSON."""

    suite: str
    command: str
    machine: str
    rows: list[Row] = field(default_factory=list)
    details: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat()
    )

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object; rows carry `passed`."""
        rows = [asdict(row) | {"passed": row.passed} for row in self.rows]
        return asdict(self) | {"rows": rows, "details": dict(self.details)}

    def line(self) -> str:
        """One row of a Markdown table: machine, command, figures, date."""
        figures = "; ".join(f"{row.name} {row.shown}" for row in self.rows if row.headline)
        return f"| {self.machine} | `{self.command}` | {figures} | {self.date} |"

    def print(self) -> None:
        """The table, the machine and the line, on the terminal."""
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table(title=f"{self.suite}, {self.date}", title_justify="left", box=None)
        table.add_column("measure", overflow="fold")
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("target", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("note", overflow="fold", style="dim")
        for row in self.rows:
            target = f"{row.target.kind} {_rounded(row.target.bound)}" if row.target else ""
            verdict = {True: "[green]pass[/]", False: "[red]fail[/]", None: ""}[row.passed]
            table.add_row(row.name, row.shown, target, verdict, row.note)
        console = Console()
        if not console.is_terminal:
            console = Console(width=_FILE_WIDTH)
        console.print(table)
        console.print(f"\n{self.machine}\nfor docs/benchmarks.md:", highlight=False)
        print(self.line())  # noqa: T201  one line whatever the terminal's width


def _rounded(value: float) -> str:
    """Four significant digits, no trailing zeros, no exponent."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e" in text else text
