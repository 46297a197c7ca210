"""The one small job of the server suite, the same on every side of the comparison."""

from __future__ import annotations

SIDE = 1024
PROMPT = "stone"
STRENGTH, STEPS, SEED = 0.5, 4, 7
"""Two steps are run: little enough of painting that the server's own share can be seen."""
