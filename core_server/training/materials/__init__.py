"""Procedural materials: families, colours and conditions rendered to pictures with captions."""

from core_server.training.materials.captions import caption
from core_server.training.materials.family import FAMILIES, Family
from core_server.training.materials.generator import FAMILY_NAMES, render_materials, sample_batch
from core_server.training.materials.params import MaterialParams, is_held_out, sample_params
from core_server.training.materials.prompt import (
    Layout,
    ParsedPrompt,
    parse_prompt,
    render_layout,
)
from core_server.training.materials.render import Rendered

__all__ = [
    "FAMILIES",
    "FAMILY_NAMES",
    "Family",
    "Layout",
    "MaterialParams",
    "ParsedPrompt",
    "Rendered",
    "caption",
    "is_held_out",
    "parse_prompt",
    "render_layout",
    "render_materials",
    "sample_batch",
    "sample_params",
]
