"""What is faster at a cost, behind a fold of its own: only what the server says it can do with the model."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from scumble.client import DenoiserPrecision, Model

FEW_STEPS = (
    ("auto", "Auto", None, "What the model does by itself"),
    ("on", "On", True, "Paint with the model's few-step weights"),
    ("off", "Off", False, "Paint with the full weights"),
)
LOADED = "loaded"
PRECISIONS = {
    DenoiserPrecision.FP8: ("8-bit float", "Faster with large models"),
    DenoiserPrecision.INT8: ("8-bit integer", "For GPUs without 8-bit floats"),
}
_LEAST_GUIDED = 5
"""Percent."""


class SpeedFields(QWidget):
    """A fold and a row a field. What is not in sight is not asked for, but stays as it is for models that have it."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = QToolButton()
        self.fold.setText("Speed")
        self.fold.setCheckable(True)
        self.fold.setAutoRaise(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.few_step, self.precision = QComboBox(), QComboBox()
        for name, title, _, tip in FEW_STEPS:
            self.few_step.addItem(title, name)
            self.few_step.setItemData(self.few_step.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._chosen_precision = LOADED
        self.guided = QSpinBox()
        self.guided.setRange(_LEAST_GUIDED, 100)
        self.guided.setSingleStep(5)
        self.guided.setValue(100)
        self.guided.setSuffix(" %")
        self.block_cache = QDoubleSpinBox()
        self.block_cache.setRange(0, 1)
        self.block_cache.setSingleStep(0.02)
        self.block_cache.setSpecialValueText("None")
        self._fields: dict[str, QWidget] = {
            "few_step": self.few_step,
            "guidance_end": self.guided,
            "block_cache": self.block_cache,
            "denoiser_precision": self.precision,
        }
        self._offered: set[str] = set()
        self._rows = QWidget()
        self._form = QFormLayout(self._rows)
        self._form.setContentsMargins(0, 0, 0, 0)
        for label, field, name, tip in (
            ("&Few steps", self.few_step, "Few steps", "Weights that paint in a few steps"),
            (
                "Guided steps",
                self.guided,
                "Guided steps",
                "Share of the steps that are guided; fewer are faster",
            ),
            (
                "Block cac&he",
                self.block_cache,
                "Block cache",
                "Leave blocks out while the first one changes less than this, such as 0.08",
            ),
            (
                "Precision",
                self.precision,
                "Precision",
                "What the denoiser's products are computed in",
            ),
        ):
            self._form.addRow(label, field)
            field.setAccessibleName(name)
            field.setToolTip(tip)
        self.fold.setAccessibleName("Speed settings")
        self.fold.setToolTip("Faster, at a cost in quality")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.fold)
        layout.addWidget(self._rows)
        self.fold.toggled.connect(self._show_rows)
        self.precision.currentIndexChanged.connect(self._note_precision)
        self._show_rows(False)
        self.offer(None, ())

    def offer(self, model: Model | None, precisions: tuple[DenoiserPrecision, ...]) -> None:
        """Shows what this model can do on the server's device; None: nothing is known of it."""
        offered = set(() if model is None else model.shortcuts)
        if not precisions:
            offered.discard("denoiser_precision")
        self._offered = offered & set(self._fields)
        for name, field in self._fields.items():
            self._form.setRowVisible(field, name in self._offered)
        self._offer_precisions(precisions)
        self.setVisible(bool(self._offered))

    def settings(self) -> dict[str, Any]:
        """What is asked for, by the names of `settings.Settings`; only of what is offered."""
        few = {name: wanted for name, _, wanted, _ in FEW_STEPS}
        precision = str(self.precision.currentData())
        wanted = {
            "few_step": few[str(self.few_step.currentData())],
            "guidance_end": self.guided.value() / 100 if self.guided.value() < 100 else None,
            "block_cache": round(self.block_cache.value(), 2) or None,
            "denoiser_precision": None if precision == LOADED else precision,
        }
        return {name: value for name, value in wanted.items() if name in self._offered}

    def show_settings(self, values: dict[str, Any]) -> None:
        """Brings back what a picture was made with."""
        few = values.get("few_step")
        self._choose_few_step(next(name for name, _, wanted, _ in FEW_STEPS if wanted is few))
        self.guided.setValue(round(100 * float(values.get("guidance_end") or 1)))
        self.block_cache.setValue(float(values.get("block_cache") or 0))
        self._choose_precision_named(str(values.get("denoiser_precision") or LOADED))

    def remember(self, store: QSettings) -> None:
        """Writes the settings."""
        store.setValue("speed", self.fold.isChecked())
        store.setValue("few_step", self.few_step.currentData())
        store.setValue("guided_percent", self.guided.value())
        store.setValue("block_cache", self.block_cache.value())
        store.setValue("denoiser_precision", self._chosen_precision)

    def recall(self, store: QSettings) -> None:
        """Reads them back; what is missing or not a number keeps its default."""
        self.fold.setChecked(store.value("speed", False, bool) is True)
        self._choose_few_step(str(store.value("few_step", "auto")))
        percent = str(store.value("guided_percent", ""))
        if percent.isdigit():
            self.guided.setValue(int(percent))
        try:
            self.block_cache.setValue(float(str(store.value("block_cache", 0.0))))
        except ValueError:
            self.block_cache.setValue(0)
        self._choose_precision_named(str(store.value("denoiser_precision", LOADED)))

    def _choose_few_step(self, name: str) -> None:
        self.few_step.setCurrentIndex(max(0, self.few_step.findData(name)))

    def _note_precision(self) -> None:
        self._chosen_precision = str(self.precision.currentData())

    def _choose_precision_named(self, name: str) -> None:
        self.precision.setCurrentIndex(max(0, self.precision.findData(name)))
        self._chosen_precision = name  # which the server may not have yet

    def _offer_precisions(self, precisions: tuple[DenoiserPrecision, ...]) -> None:
        names = [LOADED, *precisions]
        if names == [self.precision.itemData(k) for k in range(self.precision.count())]:
            return  # a list that is open stays open
        chosen = self._chosen_precision
        self.precision.clear()
        self.precision.addItem("As loaded", LOADED)
        for precision in precisions:
            title, tip = PRECISIONS[precision]
            self.precision.addItem(title, str(precision))
            self.precision.setItemData(self.precision.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._choose_precision_named(chosen)

    def _show_rows(self, shown: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self._rows.setVisible(shown)
