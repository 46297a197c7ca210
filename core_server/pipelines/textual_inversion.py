"""Textual inversions for the time of one job: new words for tokenizer and text encoder, and the old ones back.

Source: Gal et al., "An Image is Worth One Word", arXiv:2208.01618. A file holds one vector or several; several become
the tokens `<word>`, `<word>_1` ... into which the stock pipelines expand the word themselves.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from safetensors.torch import load_file

from core_server.errors import InvalidRequest
from core_server.pipelines.adapter_files import AdapterFile, token_of
from core_server.pipelines.model import LoadedModel

_SECOND = "clip_g"


@contextmanager
def new_words(
    model: LoadedModel, wanted: Sequence[tuple[AdapterFile, float, str]]
) -> Iterator[None]:
    """Within the context the prompt may use the words. wanted: file, weight (of its vectors), field.

    Errors: InvalidRequest for a file that does not fit.
    """
    with ExitStack() as stack:
        for k, (name, network) in enumerate(model.text_encoders.items()):
            tokenizer = model.tokenizers[name.replace("text_encoder", "tokenizer")]
            vectors = {}
            for adapter, weight, at in wanted:
                found = _vectors(adapter, k, at, len(model.text_encoders))
                width = network.get_input_embeddings().weight.shape[1]
                if found.shape[1] != width:
                    raise InvalidRequest(
                        at,
                        f"The textual inversion {adapter.name!r} has vectors of {found.shape[1]} numbers and "
                        f"{model.family.title} reads {width}; it was made for another family.",
                    )
                vectors[token_of(adapter.name)] = found * weight
            if vectors:
                stack.enter_context(_extended(tokenizer, network, vectors))
        yield


def with_tokens(text: str, adapters: Sequence[AdapterFile]) -> str:
    """Plain names of adapters in a prompt become their words: `easy` is `<easy>`."""
    for adapter in adapters:
        word = token_of(adapter.name)
        plain = re.escape(word[1:-1])
        text = re.sub(rf"(?<![\w<-]){plain}(?![\w>-])", word.replace("\\", r"\\"), text)
    return text


def _vectors(adapter: AdapterFile, encoder: int, at: str, encoders: int) -> torch.Tensor:
    """(vectors, width) of the file for one of the text encoders."""
    tensors = load_file(adapter.path)
    if encoders == 2:
        names = ("clip_l", _SECOND)
        if not set(names) <= tensors.keys():
            raise InvalidRequest(
                at,
                f"The textual inversion {adapter.name!r} has vectors for one text encoder and this model has two; it "
                "was made for another family.",
            )
        found = tensors[names[encoder]]
    else:
        found = tensors["emb_params"] if "emb_params" in tensors else next(iter(tensors.values()))
    return found.reshape(-1, found.shape[-1])


@contextmanager
def _extended(tokenizer: Any, network: Any, vectors: dict[str, torch.Tensor]) -> Iterator[None]:
    words = tokenizer._tokenizer
    table = network.get_input_embeddings()
    size = int(network.config.vocab_size)
    try:
        tokenizer._tokenizer = copy.deepcopy(words)
        rows = [table.weight]
        for word, found in vectors.items():
            tokens = [word, *(f"{word}_{k}" for k in range(1, len(found)))]
            if tokenizer.add_tokens(tokens) != len(tokens):
                raise InvalidRequest(
                    "parameters.adapters", f"The word {word!r} is there twice; name each file once."
                )
            rows.append(found.to(table.weight.device, table.weight.dtype))
        weight = torch.cat(rows)
        # Tokens are numbered after the tokenizer's last one; a table may have spare rows there.
        spare = table.weight.shape[0] - (len(tokenizer) - (len(weight) - table.weight.shape[0]))
        if spare > 0:
            weight = torch.cat([table.weight[: table.weight.shape[0] - spare], *rows[1:]])
        longer = torch.nn.Embedding(
            weight.shape[0], weight.shape[1], device=weight.device, dtype=weight.dtype
        )
        longer.weight = torch.nn.Parameter(weight, requires_grad=False)
        network.set_input_embeddings(longer)
        network.config.vocab_size = len(weight)
        yield
    finally:
        tokenizer._tokenizer = words
        network.set_input_embeddings(table)
        network.config.vocab_size = size
