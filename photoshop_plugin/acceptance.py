"""The checks a person with a real Photoshop runs: `python -m photoshop_plugin.acceptance`.

Each check is about one behaviour that the tests' in-memory Photoshop only models by our reading; docs/photoshop.md
lists them by the same names. Only documents that the checks open themselves are touched; they are closed unsaved. The
outcome is a JSON report: "pass" and "fail" where the plugin depends on it, "seen" where either answer is fine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from photoshop_plugin.acceptance_bench import AcceptanceHost, Bench, Failed
from photoshop_plugin.acceptance_checks import CHECKS
from photoshop_plugin.errors import PhotoshopError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check. outcome: "pass", "fail", "seen", or "error" where it could not be run."""

    name: str
    question: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found. photoshop: its version, "" if unknown."""

    photoshop: str
    time: str
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(it.outcome in ("pass", "seen") for it in self.outcomes)


def write_report(report: Report, path: Path) -> None:
    """JSON, readable by `read_report`."""
    path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def read_report(path: Path) -> Report:
    """Raises ValueError, KeyError or TypeError for a file that is no report."""
    values = json.loads(path.read_text("utf-8"))
    outcomes = tuple(Outcome(**it) for it in values["outcomes"])
    return Report(str(values["photoshop"]), str(values["time"]), outcomes)


def run_checks(host: AcceptanceHost, say: Callable[[str], None] = lambda line: None) -> Report:
    """Runs all checks; none holds up the next. say: a line for each."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="scumble-") as folder:
        bench = Bench(host, Path(folder))
        for check in CHECKS:
            try:
                detail = check.run(bench)
                outcome = "pass" if check.needed else "seen"
            except Failed as error:
                outcome, detail = "fail", str(error)
            except PhotoshopError as error:
                outcome, detail = "error", str(error)
            outcomes.append(Outcome(check.name, check.question, outcome, detail))
            say(f"{outcome:5} {check.name}: {detail}")
        version = ""
        try:
            with bench.document() as (document, _, _):
                version = str(bench.facts(document)["version"])
        except PhotoshopError as error:
            say(f"Photoshop's version is unknown: {error}")
    return Report(version, datetime.now(UTC).isoformat(timespec="seconds"), tuple(outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the checks in the Photoshop that is open; returns 0 if none failed."""
    parser = argparse.ArgumentParser(
        prog="python -m photoshop_plugin.acceptance", description="Checks a real Photoshop."
    )
    parser.add_argument("--report", type=Path, default=Path("scumble-acceptance.json"))
    options = parser.parse_args(arguments)
    from photoshop_plugin.host.photoshop import ComPhotoshop  # noqa: PLC0415 - Windows only

    try:
        with ComPhotoshop() as host:
            report = run_checks(host, _say)
    except PhotoshopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    write_report(report, options.report)
    _say(f"Written: {options.report}")
    return 0 if report.passed else 1


def _say(line: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


if __name__ == "__main__":
    sys.exit(main())
