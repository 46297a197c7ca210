"""Single-file checkpoints of Stable Diffusion 1, 2 and XL, loaded offline with the configurations shipped here."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import safe_open
from transformers import CLIPTokenizer

from core_server.errors import ModelLoadFailed
from core_server.pipelines.sources.recognise import ARCHITECTURES, SD2, SDXL, recognise
from core_server.pipelines.sources.shipped import CONFIGS, SHIPPED, require_loadable
from core_server.pipelines.sources.weights import WeightsHeader
from core_server.pipelines.whole import require_whole

_V_MARK = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_V_SPREAD = 0.09
_SHAPES = re.compile(r"\S+ expected shape .*?but got torch\.Size\(\[[\d, ]*\]\)")
_MERGES = 49152 - 256 - 2


def read_single_file(
    path: Path, header: WeightsHeader, dtype: torch.dtype, config: Path | None = None
) -> Any:
    """A stock pipeline with the file's weights, on the CPU.

    header: of the .safetensors file. config: a diffusers folder without weights, in place of the shipped one.
    Errors: ModelLoadFailed for another layout, for parts that are missing, and for shapes that do not fit.
    """
    found = recognise(header)
    require_loadable(path, header, found)
    folder, class_name = SHIPPED[found.architecture]
    changes: dict[str, dict[str, Any]] = {"unet/config.json": {"in_channels": found.in_channels}}
    if _predicts_velocity(path, header, found.architecture):
        changes["scheduler/scheduler_config.json"] = {"prediction_type": "v_prediction"}
        if "ztsnr" in header.tensors:
            changes["scheduler/scheduler_config.json"] |= {"rescale_betas_zero_snr": True}
    more: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    tokenizers = {"tokenizer": clip_tokenizer(pad="!" if found.architecture == SD2 else "")}
    if found.architecture == SDXL:
        more = {"add_watermarker": False}
        tokenizers["tokenizer_2"] = clip_tokenizer(pad="!")
    cls = getattr(diffusers, class_name)
    with _changed(config or CONFIGS / folder, changes) as configuration:
        try:
            # An absolute path and no download: configuration and tokenizers are all that diffusers would fetch.
            pipeline = cls.from_single_file(
                str(path.resolve()),
                config=str(configuration),
                local_files_only=True,
                dtype=dtype,
                **tokenizers,
                **more,
            )
        except (KeyError, NotImplementedError) as error:
            # What diffusers raises for tensors that it looks for, or that stay without values.
            named = f", such as {error.args[0]!r}" if isinstance(error, KeyError) else ""
            raise ModelLoadFailed(
                f"{path.name} is not a whole model: some of its tensors are missing{named}; download it again, or get "
                "another version of it."
            ) from error
        except (ValueError, RuntimeError) as error:
            wrong = _what_does_not_fit(str(error), ARCHITECTURES[found.architecture])
            if not wrong:
                raise
            raise ModelLoadFailed(
                f"{path.name} {wrong}; get the model's diffusers folder instead."
            ) from error
    require_whole(pipeline.components, path.name)
    return pipeline


def _what_does_not_fit(error: str, title: str) -> str:
    """From what diffusers raises; "" for anything else, such as too little memory."""
    if "valid CLIP model" in error:
        return f"is not a whole model: it holds no text encoder as {title} has it"
    shapes = _SHAPES.search(error)
    return (
        f"has the layout of {title} but tensors of other shapes ({shapes.group()})"
        if shapes
        else ""
    )


def clip_tokenizer(pad: str = "") -> CLIPTokenizer:
    """The tokenizer of OpenAI's CLIP, made from its published merges. pad: the token to pad with, "" = the end's."""
    with gzip.open(CONFIGS / "clip_merges.txt.gz", "rt", encoding="utf-8") as stream:
        lines = stream.read().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    more = {"pad_token": pad} if pad else {}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, **more)


def _predicts_velocity(path: Path, header: WeightsHeader, architecture: str) -> bool:
    """Whether the network was trained on v instead of noise (Salimans and Ho 2022).

    Newer files say so. Stable Diffusion 2 does not; there the spread of one late bias tells 2.1 from 2.1-base.
    """
    if "v_pred" in header.tensors:
        return True
    told = header.metadata.get("modelspec.prediction_type", "")
    if told:
        return told.startswith("v")
    if architecture != SD2 or _V_MARK not in header.tensors:
        return False
    with safe_open(path, framework="pt") as file:
        return bool(file.get_tensor(_V_MARK).float().std() > _V_SPREAD)


@contextmanager
def _changed(config: Path, changes: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """A copy of a configuration folder with some values replaced."""
    with tempfile.TemporaryDirectory(prefix="scumble-") as folder:
        copy = Path(folder) / config.name
        shutil.copytree(config, copy)
        for name, values in changes.items():
            file = copy / name
            file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | dict(values)))
        yield copy


def _byte_letters() -> list[str]:
    """A printable letter for each byte, in CLIP's order: the printable bytes stand for themselves and come first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
