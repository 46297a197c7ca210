"""What the published models of a family have in common, so that what was made for one fits all. Free of torch."""

from __future__ import annotations

from core_server.pipelines.sources.recommended import recommended

_WIDTHS = {"stable_diffusion": 768, "stable_diffusion_2": 1024, "stable_diffusion_xl": 2048}
"""Of the text embeddings that a family's UNets read."""


def why_none_fits(what: str, family: str, title: str, width: int) -> str:
    """The sentence for a model that nothing published fits, as the embedded one; "" for one like those published.

    what: such as "ControlNets". family: `Family.adapters`. width: of the text embeddings that its denoiser reads.
    """
    if _WIDTHS.get(family, width) == width:
        return ""
    usual = next((it.id for it in recommended() if (it.kind, it.family) == ("model", family)), "")
    way = f": `scumble models install {usual}`" if usual else ""
    return (
        f"Published {what} do not fit this model: it works as {title} does, with layers of another width. Choose an "
        f"ordinary {title}{way}."
    )
