"""The memory ladder's measurements as tables for docs/benchmarks.md. Free of everything heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core_server.benchmarks.image_cases import CASES
from core_server.benchmarks.machine import machine_line

Found = Mapping[str, Any]


def as_markdown(found: Sequence[Found]) -> str:
    """found: lines as `ladder` prints them."""
    cards = [it for it in found if "gigabytes" in it]
    rungs = [it for it in found if "rung" in it]
    others = [it for it in found if "failed" in it and not {"gigabytes", "rung"} & set(it)]
    head = (
        "model",
        "GB",
        "loading",
        "ended on",
        "seconds: first, same prompt, new prompt",
        "peak",
        "on the way",
    )
    card_rows = [
        (
            _title(it),
            f"{it['gigabytes']:g}{', taken for endless' if it.get('misjudged') else ''}",
            f"{it['loading']:.1f} s" if "loading" in it else "",
            *_painted(it),
            " ".join(it.get("ran out", ())) or "-",
        )
        for it in cards
    ]
    rung_rows = [(_title(it), it["rung"], *_painted(it)[1:]) for it in rungs]
    device = next((it["device"] for it in found if "device" in it), "no device")
    parts = [
        machine_line(device),
        _table(head, card_rows),
        _table(("model", "rung", "seconds: first, same prompt, new prompt", "peak"), rung_rows),
        *(f"{_title(it)}: {it['failed']}" for it in others),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _painted(it: Found) -> tuple[str, str, str]:
    if "failed" in it:
        return (it["failed"], "", "")
    ended = it["ended on"]
    if it["launched"] != "eager":
        ended += f", {it['launched']}"
    if it.get("layers that stay"):
        ended += f", {it['layers that stay']:.0%} stay"
    return (
        ended,
        ", ".join(f"{value:.2f}" for value in it["seconds"]),
        f"{it['peak']:.1f} GB" if it["peak"] else "not counted",
    )


def _title(it: Found) -> str:
    return CASES[it["case"]].title


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if len(lines) > 2 else ""
