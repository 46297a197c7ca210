"""How it is to look: a style, a LoRA with its weight, and which layers are read."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
)

from photoshop_plugin.document import Source
from photoshop_plugin.panel.choice import Choice
from scumble.client import Adapter, AdapterInfo, AdapterKind, Style

SOURCE_TITLES = {
    Source.MERGED: "All that is visible",
    Source.LAYER: "The active layer",
    Source.BELOW: "The active layer and below",
}


class LookFields:
    """Fields and their rows; the form owns the layout."""

    def __init__(self) -> None:
        self.source = QComboBox()
        for source, title in SOURCE_TITLES.items():
            self.source.addItem(title, source.value)
        self.style, self.lora = Choice("None"), Choice("None")
        self.weight = QDoubleSpinBox()
        self.weight.setRange(-2, 2)
        self.weight.setSingleStep(0.1)
        self.weight.setValue(1)
        for field, name, tip in (
            (self.source, "Source", "What is read; with a layer the result stands above it"),
            (self.style, "Style", "A prompt template of the server"),
            (self.lora, "LoRA", "An adapter that the server has for its models"),
            (self.weight, "LoRA weight", "How strong the LoRA is, -2 to 2"),
        ):
            field.setAccessibleName(name)
            field.setToolTip(tip)

    def add_to(self, rows: QFormLayout) -> None:
        """Adds a row a field."""
        lora = QHBoxLayout()
        lora.addWidget(self.lora, 1)
        lora.addWidget(self.weight)
        rows.addRow("So&urce", self.source)
        rows.addRow("St&yle", self.style)
        rows.addRow("Lo&RA", lora)
        rows.labelForField(lora).setBuddy(self.lora)  # type: ignore[attr-defined]

    @property
    def chosen_source(self) -> Source:
        """What is to be read."""
        return Source(self.source.currentData())

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRA, if one is chosen."""
        if not self.lora.value:
            return ()
        return (Adapter(AdapterKind.LORA, self.lora.value, round(self.weight.value(), 2)),)

    def show_adapters(self, adapters: tuple[AdapterInfo, ...]) -> None:
        """What the server has; the choice stays."""
        self.lora.offer(
            (adapter.name, adapter.name, _tip(adapter))
            for adapter in adapters
            if adapter.kind is AdapterKind.LORA
        )

    def show_styles(self, styles: tuple[Style, ...]) -> None:
        """What the server has; the choice stays."""
        self.style.offer((style.name, style.name, style.prompt) for style in styles)

    def show_settings(self, values: dict[str, Any]) -> None:
        """Brings back what a picture was made with."""
        self.source.setCurrentIndex(max(0, self.source.findData(values.get("source", "merged"))))
        self.style.choose(str(values.get("style", "")))
        adapters = values.get("adapters") or [["", 1.0]]
        name, weight = adapters[0]
        self.lora.choose(str(name))
        self.weight.setValue(float(weight))

    def remember(self, store: QSettings) -> None:
        """Writes the settings."""
        store.setValue("source", self.source.currentData())
        store.setValue("style", self.style.value)
        store.setValue("lora", self.lora.value)
        store.setValue("lora_weight", self.weight.value())

    def recall(self, store: QSettings) -> None:
        """Reads them back."""
        self.source.setCurrentIndex(max(0, self.source.findData(store.value("source", "merged"))))
        self.style.choose(str(store.value("style", "")))
        self.lora.choose(str(store.value("lora", "")))
        try:
            self.weight.setValue(float(str(store.value("lora_weight", 1.0))))
        except ValueError:
            self.weight.setValue(1.0)


def _tip(adapter: AdapterInfo) -> str:
    words = ", ".join(adapter.trigger_words)
    return f"for {adapter.family or 'unknown models'}" + (f"; say {words}" if words else "")
