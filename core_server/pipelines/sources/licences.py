"""What a licence allows, in one word and one sentence. Not legal advice: the licence's own text counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Licence:
    """name: SPDX id, or the Hub's name. commercial_use: None where nobody has told. note: what else matters."""

    name: str
    commercial_use: bool | None
    note: str = ""

    @property
    def needs_consent(self) -> bool:
        """Whether somebody must have read it before anything is fetched."""
        return self.commercial_use is not True

    @property
    def sentence(self) -> str:
        """For people."""
        use = {
            True: "commercial use is allowed",
            False: "commercial use is not allowed, or only under conditions",
            None: "nobody has told whether commercial use is allowed",
        }[self.commercial_use]
        return f"{self.name}: {use}{'; ' + self.note if self.note else ''}"


_RAIL = "the licence lists uses that are forbidden"
_KNOWN: Mapping[str, Licence] = {
    "mit": Licence("MIT", True),
    "apache-2.0": Licence("Apache-2.0", True),
    "bsd-3-clause": Licence("BSD-3-Clause", True),
    "cc0-1.0": Licence("CC0-1.0", True),
    "cc-by-4.0": Licence("CC-BY-4.0", True, "name the author"),
    "cc-by-sa-4.0": Licence("CC-BY-SA-4.0", True, "name the author, share changes alike"),
    "cc-by-nc-4.0": Licence("CC-BY-NC-4.0", False),
    "cc-by-nc-sa-4.0": Licence("CC-BY-NC-SA-4.0", False),
    "cc-by-nc-nd-4.0": Licence("CC-BY-NC-ND-4.0", False),
    "creativeml-openrail-m": Licence("CreativeML-OpenRAIL-M", True, _RAIL),
    "openrail": Licence("OpenRAIL", True, _RAIL),
    "openrail++": Licence("CreativeML-OpenRAIL++-M", True, _RAIL),
    "bigscience-openrail-m": Licence("BigScience-OpenRAIL-M", True, _RAIL),
    "stabilityai-ai-community": Licence(
        "Stability-AI-Community", False, "free below 1 M USD of yearly revenue"
    ),
    "stabilityai-nc-research-community": Licence("Stability-AI-NC-Research", False),
    "sai-nc-community": Licence("Stability-AI-NC-Community", False),
    "flux-1-dev-non-commercial-license": Licence("FLUX.1-dev-Non-Commercial", False),
    "flux-non-commercial-license": Licence("FLUX-Non-Commercial", False),
    "flux-dev-non-commercial-license": Licence("FLUX-Non-Commercial", False),
    "faipl-1.0-sd": Licence("Fair-AI-Public-1.0-SD", True, "share changes alike"),
}
UNKNOWN = Licence("unknown", None)


def licence_of(tag: str | None, name: str | None = None, link: str | None = None) -> Licence:
    """A licence from a model card: `license`, and `license_name` and `license_link` where that is "other"."""
    for text in (tag, name):
        known = _KNOWN.get((text or "").strip().lower())
        if known is not None:
            return known
    shown = name or tag or UNKNOWN.name
    if "non-commercial" in shown.lower() or "-nc" in shown.lower():
        return Licence(shown, False)
    return Licence(shown, None, f"read it at {link}" if link else "")
