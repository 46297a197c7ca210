"""What a suite is given: how to reach a server, and what the user asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scumble.client import Client


class CannotMeasure(Exception):
    """The suite cannot run as asked; one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One run.

    connect: a client of the user's server, or of one started for the block. fresh: a client of a server
    that starts now on an empty data folder (the argument), and ends with the block; None where the
    user named a server. runs: measured repeats. quick: a few small pictures, to see that all works.
    against: "" or "diffusers". precision: of the denoiser in a second row of pictures, "" for none. photos: a folder
    of CC0 photographs. out: a folder for pictures.
    """

    model: str
    device: str
    runs: int
    quick: bool
    against: str
    photos: Path | None
    out: Path | None
    connect: Callable[[], AbstractContextManager[Client]]
    fresh: Callable[[Path], AbstractContextManager[Client]] | None
    precision: str = ""

    def command(self, suite: str) -> str:
        """The command that repeats this run, for the report."""
        parts = ["scumble bench --suite", suite, "--model", self.model, "--runs", str(self.runs)]
        parts += ["--against", self.against] if self.against else []
        parts += ["--denoiser-precision", self.precision] if self.precision else []
        parts += ["--photos DIR"] if self.photos else []
        return " ".join([*parts, *(["--quick"] if self.quick else [])])

    def need_fresh(self) -> Callable[[Path], AbstractContextManager[Client]]:
        """`fresh`, or CannotMeasure."""
        if self.fresh is None:
            raise CannotMeasure(
                "This suite starts servers of its own, to measure from the start; leave --server out."
            )
        return self.fresh
