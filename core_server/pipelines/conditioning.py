"""What is done with a prompt beyond the stock pipelines: weights, and prompts longer than the encoder's window.

Where neither is asked for, the stock pipeline encodes the prompt itself, and the picture keeps diffusers' bits.
Long prompts are read window by window and laid end to end. A weight moves a token's embedding away from, or towards,
the embedding that an empty prompt has at its place, by its factor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from core_server.pipelines.model import LoadedModel
from core_server.pipelines.settings import Settings
from core_server.pipelines.words.weights import (
    MAX_WEIGHT,
    Fragment,
    fragments,
    is_beyond,
    is_weighted,
    plain,
)

CLIP_WINDOW = 77
"""Longer prompts are read in several windows by encoders with CLIP's own window; smaller ones were trained on one."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    tokenizer: Any
    network: Any
    penultimate: bool
    """SDXL reads the layer before the last, without the final normalisation."""


@torch.no_grad()
def prompt_arguments(model: LoadedModel, pipeline: Any, settings: Settings) -> dict[str, Any]:
    """Arguments that replace prompt and negative_prompt; {} where the stock pipeline does just that itself.

    For models without CLIP alone weights have no effect: the prompt goes without its syntax, and a note says so. Their
    encoders read long prompts as they are, as far as they were made for it.
    """
    usual, most = model.family.prompt_tokens
    longer = {}
    if most > usual and longest_tokens(model, settings) > usual:
        longer = {"max_sequence_length": most}
    texts = {"prompt": settings.prompt, "negative_prompt": settings.negative_prompt}
    has_syntax = any(plain(text) != text for text in texts.values())
    is_long = reads_windows(model) and any(_is_long(model, text) for text in texts.values())
    if not has_syntax and not is_long:
        return longer
    if not can_weight(model):
        # As the family words it: some guide by an empty negative prompt, which is not none at all.
        words = dataclasses.replace(
            settings,
            prompt=plain(settings.prompt),
            negative_prompt=plain(settings.negative_prompt),
        ).guidance
        given = model.family.arguments(words)
        return {name: given[name] for name in texts if name in given} | longer
    encoders = _encoders(model)
    tokens = {name: _tokens(pipeline, encoders, fragments(text)) for name, text in texts.items()}
    windows = max(len(chunks) for parts in tokens.values() for chunks in parts)
    if not reads_windows(model):
        windows = 1
    embeds, pooled = {}, {}
    for name, parts in tokens.items():
        hidden = []
        for encoder, chunks in zip(encoders, parts, strict=True):
            states, pooled[name] = _encode(encoder, chunks, windows, model.device)
            hidden.append(states)
        embeds[name] = torch.cat(hidden, dim=-1).to(model.dtype)
    arguments: dict[str, Any] = {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": embeds["prompt"],
        "negative_prompt_embeds": embeds["negative_prompt"],
    }
    if len(encoders) == 2:
        zero = not settings.negative_prompt and bool(
            getattr(pipeline.config, "force_zeros_for_empty_prompt", False)
        )
        arguments |= {
            "pooled_prompt_embeds": pooled["prompt"].to(model.dtype),
            "negative_pooled_prompt_embeds": pooled["negative_prompt"].to(model.dtype),
        }
        if zero:
            for name in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"):
                arguments[name] = torch.zeros_like(arguments[name])
    return arguments


def can_weight(model: LoadedModel) -> bool:
    """Whether weights act: every text encoder is CLIP's, and what they see goes to a UNet as it is."""
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    is_unet = model.family.denoiser == "unet"
    return is_unet and all(isinstance(network, kinds) for network in model.text_encoders.values())


def reads_windows(model: LoadedModel) -> bool:
    """Whether a prompt longer than the encoder's window is read in several."""
    return can_weight(model) and all(
        isinstance(it, CLIPTokenizer) and it.model_max_length == CLIP_WINDOW
        for it in model.tokenizers.values()
    )


def longest_tokens(model: LoadedModel, settings: Settings) -> int:
    """Tokens of the longer prompt, as the family's last text encoder counts them; 0 without that encoder."""
    tokenizer = model.tokenizers.get(model.family.tokenizers[-1])
    if tokenizer is None:
        return 0
    texts = (settings.prompt, settings.negative_prompt)
    return max(
        len(tokenizer(plain(text), truncation=False, verbose=False).input_ids) for text in texts
    )


def conditioning_notes(model: LoadedModel, settings: Settings) -> tuple[str, ...]:
    """Notes for the recipe: what the encoder cannot do, and how it read the rest."""
    notes = []
    texts = (("prompt", settings.prompt), ("negative_prompt", settings.negative_prompt))
    if any(is_weighted(text) for _, text in texts) and not can_weight(model):
        notes.append(
            f"the weights in the prompt had no effect: {model.family.title} reads sentences, not weighted words"
        )
    elif any(is_beyond(text) for _, text in texts):
        notes.append(f"weights in the prompt above {MAX_WEIGHT:g} acted as {MAX_WEIGHT:g}")
    return tuple(notes)


def _is_long(model: LoadedModel, text: str) -> bool:
    for tokenizer in model.tokenizers.values():
        if len(tokenizer(text, truncation=False, verbose=False).input_ids) > CLIP_WINDOW:
            return True
    return False


def _encoders(model: LoadedModel) -> list[_Encoder]:
    pairs = zip(model.tokenizers.values(), model.text_encoders.values(), strict=True)
    penultimate = "text_encoder_2" in model.family.text_encoders
    return [_Encoder(tokenizer, network, penultimate) for tokenizer, network in pairs]


def _tokens(
    pipeline: Any, encoders: Sequence[_Encoder], pieces: Sequence[Fragment]
) -> list[list[list[tuple[int, float]]]]:
    """For each encoder the windows' tokens with their weights, without start and end."""
    found = []
    for encoder in encoders:
        room = int(encoder.tokenizer.model_max_length) - 2
        tokens = []
        for piece in pieces:
            text = piece.text
            if hasattr(
                pipeline, "maybe_convert_prompt"
            ):  # words of textual inversions have several tokens
                text = pipeline.maybe_convert_prompt(text, encoder.tokenizer)
            ids = encoder.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
            tokens += [(token, piece.weight) for token in ids]
        found.append([tokens[k : k + room] for k in range(0, len(tokens), room)] or [[]])
    return found


def _encode(
    encoder: _Encoder, chunks: Sequence[list[tuple[int, float]]], windows: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, windows x length, width) embeddings, and the pooled one of the first window."""
    tokenizer = encoder.tokenizer
    length = int(tokenizer.model_max_length)
    states, pooled, empty = [], None, None
    for k in range(windows):
        chunk = chunks[k] if k < len(chunks) else []
        ids = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * (length - len(ids))
        hidden, summary = _run(encoder, ids, device)
        pooled = summary if pooled is None else pooled
        weights = [1.0, *(weight for _, weight in chunk)]
        weights += [1.0] * (length - len(weights))
        if any(weight != 1.0 for weight in weights):
            if empty is None:
                blank = [tokenizer.bos_token_id, tokenizer.eos_token_id]
                empty, _ = _run(encoder, blank + [tokenizer.pad_token_id] * (length - 2), device)
            factor = torch.tensor(weights, dtype=hidden.dtype, device=hidden.device)[None, :, None]
            hidden = torch.where(factor == 1, hidden, empty + (hidden - empty) * factor)
        states.append(hidden)
    assert pooled is not None
    return torch.cat(states, dim=1), pooled


def _run(
    encoder: _Encoder, ids: list[int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    batch = torch.tensor([ids], device=device)
    if encoder.penultimate:
        output = encoder.network(batch, output_hidden_states=True)
        return output.hidden_states[-2], output[0]
    output = encoder.network(batch)
    return output[0], output[0][:, 0]
