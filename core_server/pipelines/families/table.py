"""The tables of docs/models.md, made from the registry; running this module rewrites them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core_server.pipelines.families.family import Family, Looks, Route, Seamless
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.memory import Rung
from core_server.pipelines.schedulers import (
    CONSISTENCY_SCHEDULERS,
    DIFFUSION_SCHEDULERS,
    FLOW_SCHEDULERS,
    SCHEDULERS,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"
_TASKS = {"text_to_image": "text", "image_to_image": "image", "inpaint": "inpaint"}
_ROUTES = {
    Route.STOCK: "yes",
    Route.WHOLE_MASK: "yes, by its inpainting",
    Route.LATE_START: "yes, built here",
    Route.MASKED_LATENTS: "yes, built here",
}
_KINDS = (
    (DIFFUSION_SCHEDULERS, "diffusion"),
    (FLOW_SCHEDULERS, "flow"),
    (CONSISTENCY_SCHEDULERS, "consistency"),
)
_LOOKS = {
    Looks.NONE: "no",
    Looks.ADAPTER: "IP-Adapter",
    Looks.TOKENS: "seen by itself",
    Looks.PICTURES: "seen by itself, {} at most",
}
_SEAMLESS = {Seamless.CIRCULAR: "wrapping convolutions", Seamless.ROLL: "rolled latents"}


def families_table() -> str:
    """Family by task: what is done and how, with what control and references, sizes, licence."""
    head = (
        "family",
        *_TASKS.values(),
        "control images",
        "reference images",
        "tiles",
        "px a side",
        "schedulers",
        "licence of the original",
    )
    return _table(head, (_row(family) for family in FAMILIES.values()))


def schedulers_table() -> str:
    """Every scheduler name, its title and diffusers class."""
    rows = (
        (f"`{name}`", SCHEDULERS[name].title, kind, SCHEDULERS[name].class_name)
        for names, kind in _KINDS
        for name in names
    )
    return _table(("name", "what", "for", "diffusers class"), rows)


def memory_table() -> str:
    """The rungs of the memory ladder."""
    rows = ((f"`{rung.name.lower()}`", rung.told) for rung in Rung)
    return _table(("rung", "what it does, and what that costs"), rows)


TABLES = {
    "families": families_table,
    "schedulers": schedulers_table,
    "memory": memory_table,
}


def rewritten(text: str) -> str:
    """A document with the tables between its markers made anew."""
    for name, make in TABLES.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            text = f"{before}<!-- {name} -->\n{make()}\n{end}{after}"
    return text


def _row(family: Family) -> tuple[str, ...]:
    tasks = [_ROUTES[family.tasks[task].route] if task in family.tasks else "no" for task in _TASKS]
    if family.paints_from_looks:
        tasks[0] = "from reference images"
    control = "ControlNet" if family.control else "no"
    if family.controls_itself:
        control = "one, always, without a ControlNet"
    looks = _LOOKS[family.looks].format(family.most_looks)
    if family.looks is Looks.ADAPTER and family.most_looks == 1:
        looks += ", 1 at once"
    kind = next(kind for names, kind in _KINDS if names == family.schedulers)
    sides = f"{family.min_side} to {family.max_side}"
    commercial = "" if family.commercial_use else " (not commercial, or with conditions)"
    licence = f"{family.license}{commercial}"
    return (family.title, *tasks, control, looks, _SEAMLESS[family.seamless], sides, kind, licence)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
