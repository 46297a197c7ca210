"""The tokenizer: a CLIP byte-pair vocabulary trained on our own captions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from core_server.training.default_model.networks import TOKENS
from core_server.training.materials import FAMILIES, MaterialParams, caption, sample_params
from core_server.training.materials.colors import COLOR_NAMES, COLOR_SYNONYMS, TONES

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # as CLIP's own tokenizer
_COMMON = (
    "a an the of and with in on from under over very soft hard thick thin old new dark light floor "
    "wall roof ceiling street road path ground garden forest beach desert mountain castle dungeon "
    "medieval ancient modern fantasy futuristic alien realistic photo photograph photorealistic "
    "game asset tile tiling repeating background pattern detailed sharp clean simple rustic vintage "
    "elegant luxury industrial natural organic synthetic kitchen bathroom outdoor indoor"
)


def training_corpus(per_family: int = 600, seed: int = 0) -> list[str]:
    """Captions of every family plus the words artists put around them."""
    rng = random.Random(seed)  # noqa: S311  not secret
    corpus = [
        caption(sample_params(rng, name), rng) for name in FAMILIES for _ in range(per_family)
    ]
    corpus += [" ".join((*COLOR_NAMES, *COLOR_SYNONYMS, *TONES))] * 40
    corpus += [" ".join(word for f in FAMILIES.values() for word in f.words)] * 40
    return corpus + [_COMMON] * 40


def train_vocabulary(folder: Path, size: int = 2048) -> None:
    """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json to `folder`.

    All 256 byte symbols and their 256 word-final forms come first, so no letter is unknown: a word
    never seen is spelled, it does not become the end of the text.
    """
    from transformers import CLIPTokenizer  # noqa: PLC0415  slow, workers do without

    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        training_corpus(),
        trainers.BpeTrainer(
            vocab_size=size - 2,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    merges = [
        pair.split(" ") if isinstance(pair, str) else pair
        for pair in json.loads(trained.to_str())["model"]["merges"]
    ]
    symbols = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    symbols = list(dict.fromkeys([*symbols, *("".join(pair) for pair in merges)]))
    kept = merges[: max(0, size - 2 - 2 * len(alphabet))]
    symbols = [*symbols[: size - 2], BOS, EOS]
    kept = [pair for pair in kept if "".join(pair) in set(symbols)]
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {symbol: index for index, symbol in enumerate(symbols)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    lines = "\n".join(" ".join(pair) for pair in kept)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", "utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    config_path = folder / "tokenizer_config.json"
    config = json.loads(config_path.read_text("utf-8"))
    local = ("is_local", "local_files_only", "name_or_path")
    config = {key: value for key, value in config.items() if key not in local}
    config_path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", "utf-8")


class FastTokenizer:
    """Captions to padded ids with `tokenizers` alone: no transformers import in worker processes."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
        self.bos, self.eos, self.size = vocab[BOS], vocab[EOS], len(vocab)

    def __call__(self, texts: list[str]) -> np.ndarray:
        """(n, 32) int16: start, words, end, padded with end."""
        out = np.full((len(texts), TOKENS), self.eos, np.int16)
        out[:, 0] = self.bos
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        for row, item in zip(out, encoded, strict=True):
            ids = item.ids[: TOKENS - 2]
            row[1 : 1 + len(ids)] = ids
        return out


_worker_tokenizer: FastTokenizer | None = None


def caption_ids(task: tuple[str, list[MaterialParams], int, int]) -> np.ndarray:
    """(n, k, 32) int16 ids of k captions each; (tokenizer folder, params, seed, k). For workers."""
    global _worker_tokenizer  # noqa: PLW0603  one tokenizer per process
    folder, params, seed, variants = task
    if _worker_tokenizer is None:
        _worker_tokenizer = FastTokenizer(Path(folder))
    rng = random.Random(seed)  # noqa: S311  not secret
    texts = [caption(p, rng) for p in params for _ in range(variants)]
    return _worker_tokenizer(texts).reshape(len(params), variants, TOKENS)
