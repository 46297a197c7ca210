"""Transformers in the key layouts of their original releases, made from diffusers' own: the inverse of its mapping."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from diffusers.loaders import single_file_model

_FLUX_WIDTH = 3072
"""What diffusers' mapping of FLUX.1 takes for granted."""

Tensors = dict[str, torch.Tensor]


def original(name: str, transformer: Any) -> Tensors:
    """The state dict of a family's transformer, as the file of its release has it."""
    state = {key: value.clone() for key, value in transformer.state_dict().items()}
    tensors = {
        "flux": _flux,
        "flux_2_klein": _flux_2,
        "qwen_image": dict,  # released in diffusers' own layout
        "stable_diffusion_3": _sd3,
        "z_image": _z_image,
    }[name](state)
    return {key: value.contiguous() for key, value in tensors.items()}


@contextmanager
def narrow_flux(width: int) -> Iterator[None]:
    """Within the context diffusers maps FLUX.1 of this width; its mapping is the real one but for that number."""
    entry = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    real = entry["checkpoint_mapping_fn"]
    constants = tuple(width if it == _FLUX_WIDTH else it for it in real.__code__.co_consts)
    assert constants != real.__code__.co_consts, "diffusers no longer counts on FLUX.1's width"
    code = real.__code__.replace(co_consts=constants)
    entry["checkpoint_mapping_fn"] = FunctionType(code, real.__globals__)
    try:
        yield
    finally:
        entry["checkpoint_mapping_fn"] = real


def _renamed(state: Tensors, rules: tuple[tuple[str, str], ...]) -> Tensors:
    found = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)  # noqa: PLW2901
        found[key] = value
    return found


def _fused(state: Tensors, parts: tuple[str, ...], whole: str) -> Tensors:
    """Several projections side by side. parts: what their names have where the whole one has `whole`."""
    found = dict(state)
    for key in [key for key in state if parts[0] in key]:
        several = [found.pop(key.replace(parts[0], part)) for part in parts]
        found[key.replace(parts[0], whole)] = torch.cat(several)
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


_FLUX_ATTENTION = (
    (r"^single_transformer_blocks\.", "single_blocks."),
    (r"^transformer_blocks\.", "double_blocks."),
    (r"(single_blocks\.\d+)\.attn\.norm_q\.weight", r"\1.norm.query_norm.scale"),
    (r"(single_blocks\.\d+)\.attn\.norm_k\.weight", r"\1.norm.key_norm.scale"),
    (r"\.attn\.norm_added_q\.weight", ".txt_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_added_k\.weight", ".txt_attn.norm.key_norm.scale"),
    (r"\.attn\.norm_q\.weight", ".img_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_k\.weight", ".img_attn.norm.key_norm.scale"),
    (r"\.attn\.to_out\.0\.", ".img_attn.proj."),
    (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^proj_out\.", "final_layer.linear."),
)


def _flux(state: Tensors) -> Tensors:
    single = "single_transformer_blocks."
    fused = {key: value for key, value in state.items() if key.startswith(single)}
    rest = {key: value for key, value in state.items() if not key.startswith(single)}
    names = (".attn.to_q.", ".attn.to_k.", ".attn.to_v.", ".proj_mlp.")
    state = rest | _fused(fused, names, ".linear1.")
    for part, side in (("to_{}", "img"), ("add_{}_proj", "txt")):
        three = tuple(f".attn.{part.format(letter)}." for letter in "qkv")
        state = _fused(state, three, f".{side}_attn.qkv.")
    for kind in ("weight", "bias"):
        state[f"norm_out.linear.{kind}"] = _swapped(state[f"norm_out.linear.{kind}"])
    embedders = (("timestep", "time"), ("text", "vector"), ("guidance", "guidance"))
    rules = (
        (r"(single_transformer_blocks\.\d+)\.norm\.linear\.", r"\1.modulation.lin."),
        (r"(single_transformer_blocks\.\d+)\.proj_out\.", r"\1.linear2."),
        (r"\.norm1\.linear\.", ".img_mod.lin."),
        (r"\.norm1_context\.linear\.", ".txt_mod.lin."),
        (r"\.ff\.net\.0\.proj\.", ".img_mlp.0."),
        (r"\.ff\.net\.2\.", ".img_mlp.2."),
        (r"\.ff_context\.net\.0\.proj\.", ".txt_mlp.0."),
        (r"\.ff_context\.net\.2\.", ".txt_mlp.2."),
        *(
            (rf"^time_text_embed\.{ours}_embedder\.linear_{number}\.", f"{theirs}_in.{side}_layer.")
            for ours, theirs in embedders
            for number, side in ((1, "in"), (2, "out"))
        ),
        *_FLUX_ATTENTION,
    )
    return _renamed(state, rules)


def _flux_2(state: Tensors) -> Tensors:
    for part, side in (("to_{}", "img"), ("add_{}_proj", "txt")):
        names = tuple(f".attn.{part.format(letter)}." for letter in "qkv")
        state = _fused(state, names, f".{side}_attn.qkv.")
    state["norm_out.linear.weight"] = _swapped(state["norm_out.linear.weight"])
    rules = (
        (r"(single_transformer_blocks\.\d+)\.attn\.to_qkv_mlp_proj\.", r"\1.linear1."),
        (r"(single_transformer_blocks\.\d+)\.attn\.to_out\.", r"\1.linear2."),
        (r"\.ff\.linear_in\.", ".img_mlp.0."),
        (r"\.ff\.linear_out\.", ".img_mlp.2."),
        (r"\.ff_context\.linear_in\.", ".txt_mlp.0."),
        (r"\.ff_context\.linear_out\.", ".txt_mlp.2."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
        (r"^(\w+_stream_modulation\w*)\.linear\.", r"\1.lin."),
        *_FLUX_ATTENTION,
    )
    return _renamed(state, rules)


def _sd3(state: Tensors) -> Tensors:
    for part, side in (("to_{}", "x_block"), ("add_{}_proj", "context_block")):
        names = tuple(f".attn.{part.format(letter)}." for letter in "qkv")
        state = _fused(state, names, f".{side}.attn.qkv.")
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
