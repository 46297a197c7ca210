"""How it is to look: a style, a LoRA with its weight, and which layers are read."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
)

from photoshop_plugin.document import Source
from scumble.client import Adapter, AdapterInfo, AdapterKind

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
        self.style = QLineEdit()
        self.style.setPlaceholderText("none; `scumble styles` lists them")
        self.lora = QComboBox()
        self.lora.addItem("None", "")
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
        rows.addRow("Sour&ce", self.source)
        rows.addRow("St&yle", self.style)
        rows.addRow("L&oRA", lora)
        rows.labelForField(lora).setBuddy(self.lora)  # type: ignore[attr-defined]

    @property
    def chosen_source(self) -> Source:
        """What is to be read."""
        return Source(self.source.currentData())

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRA, if one is chosen."""
        name = str(self.lora.currentData() or "")
        return (Adapter(AdapterKind.LORA, name, round(self.weight.value(), 2)),) if name else ()

    def show_adapters(self, adapters: tuple[AdapterInfo, ...]) -> None:
        """What the server has; the choice stays."""
        chosen = str(self.lora.currentData() or "")
        self.lora.clear()
        self.lora.addItem("None", "")
        for adapter in adapters:
            if adapter.kind is AdapterKind.LORA:
                self.lora.addItem(adapter.name, adapter.name)
                words = ", ".join(adapter.trigger_words)
                tip = f"for {adapter.family or 'unknown models'}"
                if words:
                    tip += f"; say {words}"
                self.lora.setItemData(self.lora.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._choose_lora(chosen)

    def show_settings(self, values: dict[str, Any]) -> None:
        """Brings back what a picture was made with."""
        self.source.setCurrentIndex(max(0, self.source.findData(values.get("source", "merged"))))
        self.style.setText(str(values.get("style", "")))
        adapters = values.get("adapters") or [["", 1.0]]
        name, weight = adapters[0]
        self._choose_lora(str(name))
        self.weight.setValue(float(weight))

    def remember(self, store: QSettings) -> None:
        """Writes the settings."""
        store.setValue("source", self.source.currentData())
        store.setValue("style", self.style.text())
        store.setValue("lora", self.lora.currentData() or "")
        store.setValue("lora_weight", self.weight.value())

    def recall(self, store: QSettings) -> None:
        """Reads them back."""
        self.source.setCurrentIndex(max(0, self.source.findData(store.value("source", "merged"))))
        self.style.setText(str(store.value("style", "")))
        self._choose_lora(str(store.value("lora", "")))
        try:
            self.weight.setValue(float(str(store.value("lora_weight", 1.0))))
        except ValueError:
            self.weight.setValue(1.0)

    def _choose_lora(self, name: str) -> None:
        place = self.lora.findData(name)
        if place < 0:
            self.lora.addItem(name, name)
            place = self.lora.count() - 1
        self.lora.setCurrentIndex(place)
