"""The processor of models that read words and pictures together, without the part for videos.

The stock class cannot be made without torchvision, which only its video part needs; no task here has videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Qwen2Tokenizer, Qwen2VLImageProcessorPil, Qwen2VLProcessor


class StillProcessor(Qwen2VLProcessor):  # type: ignore[misc]
    """A Qwen2VLProcessor for prompts and still pictures."""

    @staticmethod
    def of(folder: Path) -> StillProcessor:
        """Reads the `processor` folder of a model."""
        return StillProcessor(
            Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True),
            Qwen2Tokenizer.from_pretrained(folder, local_files_only=True),
        )

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """The stock check looks up classes that are not there without torchvision."""
        if argument_name in ("image_processor", "video_processor"):
            return type(argument)
        return super().check_argument_for_proper_class(argument_name, argument)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> list[str]:
        """Writes what `of` reads."""
        self.image_processor.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)
        return []
