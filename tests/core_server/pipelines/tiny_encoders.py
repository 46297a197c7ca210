"""Tokenizers and text encoders of the tiny families: real architectures, random weights, vocabularies made here."""

from __future__ import annotations

import json
from typing import Any

import transformers

from core_server.pipelines.tiny import _TOKENIZER, make_tiny_pipeline

LETTERS = list(json.loads((_TOKENIZER / "vocab.json").read_text(encoding="utf-8")))[:256]
"""One printable letter for each byte."""
WIDTH = 32


def clip_tokenizer() -> Any:
    return make_tiny_pipeline().tokenizer


def clip_encoder(kind: Any = transformers.CLIPTextModel) -> Any:
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=514,
            hidden_size=WIDTH,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=WIDTH,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    )


def t5_tokenizer() -> Any:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *map(chr, range(33, 127))]
    vocabulary = [(piece, 0.0 if n < 3 else -2.0) for n, piece in enumerate(pieces)]
    return transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def t5_encoder(width: int = WIDTH) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=128, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4
        )
    )


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def qwen_tokenizer() -> Any:
    words = [*LETTERS, *SPECIAL, *VISION]
    return transformers.Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        extra_special_tokens=[*SPECIAL[1:], *VISION],
        chat_template=CHAT,
        model_max_length=4096,
    )


def mistral_tokenizer() -> Any:
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'][0]['text'] }}"
        "<|im_end|>\n{% endfor %}"
    )
    return tokenizer


def mistral_encoder(layers: int) -> Any:
    small = {
        "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "head_dim": 8,
    }  # fmt: skip
    return transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(
            text_config={
                "model_type": "mistral", "vocab_size": 300, "num_hidden_layers": layers,
                "num_key_value_heads": 2, "max_position_embeddings": 1024, **small,
            },
            vision_config={"model_type": "pixtral", "num_hidden_layers": 1, **small},
            image_token_index=299,
        )
    )  # fmt: skip


def qwen_encoder(kind: Any, layers: int) -> Any:
    return kind(
        transformers.Qwen3Config(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=1024,
        )
    )


def qwen_vision_encoder() -> Any:
    number = {word: 256 + n for n, word in enumerate([*SPECIAL, *VISION])}
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 300,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
            "rope_theta": 1000000.0,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        hidden_size=16,
        vocab_size=300,
        vision_start_token_id=number["<|vision_start|>"],
        vision_end_token_id=number["<|vision_end|>"],
        image_token_id=number["<|image_pad|>"],
        video_token_id=number["<|video_pad|>"],
        vision_token_id=number["<|image_pad|>"],
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def gemma_tokenizer() -> Any:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n", *map(chr, range(33, 127))]
    return transformers.GemmaTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=4096
    )


def gemma_encoder() -> Any:
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=128,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=4096,
        )
    )
