"""Transformers in the key layouts of their original releases, made from diffusers' own: the inverse of its mapping.

FLUX.1's cannot be made small: diffusers' mapping counts on its full width.
"""

from __future__ import annotations

import re
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]


def original(name: str, transformer: Any) -> Tensors:
    """The state dict of a family's transformer, as the file of its release has it."""
    state = {key: value.clone() for key, value in transformer.state_dict().items()}
    tensors = {"z_image": _z_image, "flux_2_klein": _flux_2, "stable_diffusion_3": _sd3}[name](
        state
    )
    return {key: value.contiguous() for key, value in tensors.items()}


def _renamed(state: Tensors, rules: tuple[tuple[str, str], ...]) -> Tensors:
    found = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)  # noqa: PLW2901
        found[key] = value
    return found


def _fused(state: Tensors, parts: tuple[str, str, str], whole: str) -> Tensors:
    """Three projections side by side. parts: what their names have where the whole one has `whole`."""
    found = dict(state)
    for key in [key for key in state if parts[0] in key]:
        three = [found.pop(key.replace(parts[0], part)) for part in parts]
        found[key.replace(parts[0], whole)] = torch.cat(three)
    return found


def _swapped(tensor: torch.Tensor) -> torch.Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def _z_image(state: Tensors) -> Tensors:
    state = _fused(state, (".to_q.", ".to_k.", ".to_v."), ".qkv.")
    rules = (
        (r"^all_final_layer\.2-1\.", "final_layer."),
        (r"^all_x_embedder\.2-1\.", "x_embedder."),
        (r"\.attention\.to_out\.0\.", ".attention.out."),
        (r"\.attention\.norm_([qk])\.", r".attention.\1_norm."),
    )
    return _renamed(state, rules)


def _flux_2(state: Tensors) -> Tensors:
    for part, side in (("to_{}", "img"), ("add_{}_proj", "txt")):
        names = tuple(f".attn.{part.format(letter)}." for letter in "qkv")
        state = _fused(state, names, f".{side}_attn.qkv.")  # type: ignore[arg-type]
    state["norm_out.linear.weight"] = _swapped(state["norm_out.linear.weight"])
    rules = (
        (r"^single_transformer_blocks\.", "single_blocks."),
        (r"^transformer_blocks\.", "double_blocks."),
        (r"single_blocks\.(\d+)\.attn\.to_qkv_mlp_proj\.", r"single_blocks.\1.linear1."),
        (r"single_blocks\.(\d+)\.attn\.to_out\.", r"single_blocks.\1.linear2."),
        (r"(single_blocks\.\d+)\.attn\.norm_q\.weight", r"\1.norm.query_norm.scale"),
        (r"(single_blocks\.\d+)\.attn\.norm_k\.weight", r"\1.norm.key_norm.scale"),
        (r"\.attn\.norm_added_q\.weight", ".txt_attn.norm.query_norm.scale"),
        (r"\.attn\.norm_added_k\.weight", ".txt_attn.norm.key_norm.scale"),
        (r"\.attn\.norm_q\.weight", ".img_attn.norm.query_norm.scale"),
        (r"\.attn\.norm_k\.weight", ".img_attn.norm.key_norm.scale"),
        (r"\.attn\.to_out\.0\.", ".img_attn.proj."),
        (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
        (r"\.ff\.linear_in\.", ".img_mlp.0."),
        (r"\.ff\.linear_out\.", ".img_mlp.2."),
        (r"\.ff_context\.linear_in\.", ".txt_mlp.0."),
        (r"\.ff_context\.linear_out\.", ".txt_mlp.2."),
        (r"^x_embedder\.", "img_in."),
        (r"^context_embedder\.", "txt_in."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
        (r"^(\w+_stream_modulation\w*)\.linear\.", r"\1.lin."),
        (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
        (r"^proj_out\.", "final_layer.linear."),
    )
    return _renamed(state, rules)


def _sd3(state: Tensors) -> Tensors:
    for part, side in (("to_{}", "x_block"), ("add_{}_proj", "context_block")):
        names = tuple(f".attn.{part.format(letter)}." for letter in "qkv")
        state = _fused(state, names, f".{side}.attn.qkv.")  # type: ignore[arg-type]
    last = max(int(key.split(".")[1]) for key in state if key.startswith("transformer_blocks."))
    for key in list(state):
        if key.startswith((f"transformer_blocks.{last}.norm1_context.", "norm_out.linear.")):
            state[key] = _swapped(state[key])
    rules = (
        (r"^transformer_blocks\.", "joint_blocks."),
        (r"\.attn\.to_out\.0\.", ".x_block.attn.proj."),
        (r"\.attn\.to_add_out\.", ".context_block.attn.proj."),
        (r"\.norm1\.linear\.", ".x_block.adaLN_modulation.1."),
        (r"\.norm1_context\.linear\.", ".context_block.adaLN_modulation.1."),
        (r"\.ff\.net\.0\.proj\.", ".x_block.mlp.fc1."),
        (r"\.ff\.net\.2\.", ".x_block.mlp.fc2."),
        (r"\.ff_context\.net\.0\.proj\.", ".context_block.mlp.fc1."),
        (r"\.ff_context\.net\.2\.", ".context_block.mlp.fc2."),
        (r"^pos_embed\.pos_embed$", "pos_embed"),
        (r"^pos_embed\.proj\.", "x_embedder.proj."),
        (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
        (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
        (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
        (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
        (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
        (r"^proj_out\.", "final_layer.linear."),
    )
    return _renamed(state, rules)
