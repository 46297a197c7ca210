"""What the artist types: prompt and settings, remembered between sessions."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from photoshop_plugin.panel.choice import Choice
from photoshop_plugin.panel.look_fields import LookFields
from photoshop_plugin.panel.speed_fields import SpeedFields
from photoshop_plugin.panel.task_fields import TaskFields
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import TITLES, Task
from scumble.client import CanvasOptions, DenoiserPrecision, Model

MAX_COUNT = 4
UPSCALE_STRENGTH, EXTEND_STRENGTH, REMOVE_STRENGTH = 30, 85, 80
"""Percent: what Enlarge starts from, since at 100 it would repaint; Extend, which so leads lines and colours on; and
Remove, so that what the place is filled with counts."""
_SEED_CHARS = 20


class PromptEdit(QPlainTextEdit):
    """Several lines; Ctrl+Enter generates, Tab goes on to the next field."""

    submitted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setPlaceholderText("What should be there?")
        self.setAccessibleName("Prompt")
        self.setToolTip("What to paint in the selection. Ctrl+Enter generates.")
        self.setFixedHeight(3 * self.fontMetrics().lineSpacing() + 14)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Ctrl+Enter is Generate."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.submitted.emit()
            return
        super().keyPressEvent(event)


class Form(QWidget):
    """Prompt, strength, count and seed in sight; the rest behind a fold."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = PromptEdit()
        self.task = QComboBox()
        self.task.addItem("Auto", Task.AUTO.value)
        for task, title in TITLES.items():
            self.task.addItem(title, task.value)
        self.task_fields = TaskFields()
        self.look = LookFields()
        self.speed = SpeedFields()
        self._models: tuple[Model, ...] = ()
        self._precisions: tuple[DenoiserPrecision, ...] = ()
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(1, 100)
        self.strength.setValue(100)
        self.strength_label = QLabel()
        self.count = QSpinBox()
        self.count.setRange(1, MAX_COUNT)
        self.seed = QLineEdit()
        self.seed.setMaxLength(_SEED_CHARS)
        self.seed.setPlaceholderText("drawn anew each time")
        self.lock = QCheckBox("Lock")
        self.negative = QLineEdit()
        self.model = Choice("The server's default")
        self.steps = QSpinBox()
        self.steps.setRange(0, 1000)
        self.steps.setSpecialValueText("Auto")
        self.exact = QCheckBox("My selection is the layer mask, exactly")
        self.fold = QToolButton()
        self.fold.setText("More")
        self.fold.setCheckable(True)
        self.fold.setAutoRaise(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._more = QWidget()
        self._lent = 0
        self._arrange()
        self._name()
        self.strength.valueChanged.connect(self._show_strength)
        self.fold.toggled.connect(self._show_more)
        self.task.currentIndexChanged.connect(self._show_task)
        self.model.currentIndexChanged.connect(self._show_speed)
        self._show_strength()
        self._show_more(False)

    @property
    def chosen_task(self) -> Task:
        """What is to be done."""
        return Task(self.task.currentData())

    def show_guess(self, title: str) -> None:
        """What Auto means for the document in front; "" where it means nothing yet."""
        self.task.setItemText(0, f"Auto: {title}" if title else "Auto")

    def settings(self) -> Settings:
        """What is asked for now. Raises ValueError with a sentence for a seed that is none."""
        return Settings(
            prompt=self.prompt.toPlainText().strip(),
            negative_prompt=self.negative.text().strip(),
            strength=self.strength.value() / 100,
            model=self.model.value,
            num_inference_steps=self.steps.value() or None,
            seed=_seed(self.seed.text()) if self.lock.isChecked() else None,
            count=self.count.value(),
            style=self.look.style.value,
            adapters=self.look.adapters,
            task=self.chosen_task,
            source=self.look.chosen_source,
            sides=self.task_fields.chosen_sides,
            factor=int(self.task_fields.factor.currentData()),
            pattern_side=self.task_fields.pattern_side.value(),
            options=CanvasOptions(exact_selection=self.exact.isChecked()),
            **self.speed.settings(),
        )

    def show_settings(self, values: dict[str, Any], seed: int) -> None:
        """Brings back what a picture was made with, its seed locked."""
        self.task.setCurrentIndex(max(0, self.task.findData(values.get("task", "auto"))))
        self.look.show_settings(values)
        self.speed.show_settings(values)
        self.task_fields.show_settings(values)
        self.prompt.setPlainText(str(values.get("prompt", "")))
        self.negative.setText(str(values.get("negative_prompt", "")))
        self.strength.setValue(round(100 * float(values.get("strength", 1.0))))
        self.model.choose(str(values.get("model", "")))
        self.steps.setValue(int(values.get("num_inference_steps") or 0))
        self.count.setValue(1)
        self.show_seed(seed)
        self.lock.setChecked(True)

    def show_seed(self, seed: int) -> None:
        """The seed that was used."""
        self.seed.setText(str(seed))

    def show_models(
        self, models: tuple[Model, ...], precisions: tuple[DenoiserPrecision, ...]
    ) -> None:
        """What the server has; the choice stays. precisions: of its device."""
        self._models, self._precisions = models, precisions
        self.model.offer(
            (model.model_id, model.title, model.description)
            for model in models
            if "inpaint" in model.tasks
        )
        self._show_speed()

    def remember(self, store: QSettings) -> None:
        """Writes the settings."""
        store.setValue("prompt", self.prompt.toPlainText())
        store.setValue("negative_prompt", self.negative.text())
        store.setValue("strength", self.strength.value())
        store.setValue("count", self.count.value())
        store.setValue("seed", self.seed.text())
        store.setValue("lock", self.lock.isChecked())
        store.setValue("model", self.model.value)
        store.setValue("steps", self.steps.value())
        store.setValue("exact", self.exact.isChecked())
        store.setValue("more", self.fold.isChecked())
        self.look.remember(store)
        self.speed.remember(store)
        self.task_fields.remember(store)

    def recall(self, store: QSettings) -> None:
        """Reads them back; what is missing or not a number keeps its default."""
        self.prompt.setPlainText(str(store.value("prompt", "")))
        self.negative.setText(str(store.value("negative_prompt", "")))
        for name, field in (
            ("strength", self.strength),
            ("count", self.count),
            ("steps", self.steps),
        ):
            value = str(store.value(name, ""))
            if value.isdigit():
                field.setValue(int(value))
        self.seed.setText(str(store.value("seed", "")))
        self.lock.setChecked(store.value("lock", False, bool) is True)
        self.exact.setChecked(store.value("exact", False, bool) is True)
        self.fold.setChecked(store.value("more", False, bool) is True)
        self.model.choose(str(store.value("model", "")))
        self.look.recall(store)
        self.speed.recall(store)
        self.task_fields.recall(store)

    def lend_strength(self, percent: int) -> None:
        """For as long as full strength makes no sense; a strength that the artist chose stays."""
        if self.strength.value() == self.strength.maximum():
            self.strength.setValue(percent)
            self._lent = percent

    def take_back_strength(self) -> None:
        """Full strength again, unless the artist chose another one meanwhile."""
        lent, self._lent = self._lent, 0
        if lent and self.strength.value() == lent:
            self.strength.setValue(self.strength.maximum())

    def _show_task(self) -> None:
        task = self.chosen_task
        self.task_fields.show_for(task)
        self.take_back_strength()
        if task is Task.UPSCALE:
            self.lend_strength(UPSCALE_STRENGTH)
        elif task is Task.EXTEND:
            self.lend_strength(EXTEND_STRENGTH)
        elif task is Task.REMOVE:
            self.lend_strength(REMOVE_STRENGTH)

    def _show_speed(self) -> None:
        chosen = self.model.value
        model = next(
            (it for it in self._models if it.model_id == chosen or (not chosen and it.is_default)),
            None,
        )
        self.speed.offer(model, self._precisions)

    def _show_strength(self) -> None:
        self.strength_label.setText(f"{self.strength.value()} %")

    def _show_more(self, shown: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self._more.setVisible(shown)

    def _arrange(self) -> None:
        strength = QHBoxLayout()
        strength.addWidget(self.strength, 1)
        self.strength_label.setMinimumWidth(self.fontMetrics().horizontalAdvance("100 %"))
        strength.addWidget(self.strength_label)
        seed = QHBoxLayout()
        seed.addWidget(self.seed, 1)
        seed.addWidget(self.lock)
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Tas&k", self.task)
        rows.addRow(self.task_fields)
        rows.addRow("&Strength", strength)
        rows.addRow("&Variations", self.count)
        rows.addRow("S&eed", seed)
        rows.labelForField(strength).setBuddy(self.strength)  # type: ignore[attr-defined]
        rows.labelForField(seed).setBuddy(self.seed)  # type: ignore[attr-defined]
        more = QFormLayout(self._more)
        more.setContentsMargins(0, 0, 0, 0)
        more.addRow("Av&oid", self.negative)
        more.addRow("&Model", self.model)
        self.look.add_to(more)
        more.addRow("Ste&ps", self.steps)
        more.addRow("", self.exact)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.prompt)
        layout.addLayout(rows)
        layout.addWidget(self.fold)
        layout.addWidget(self._more)
        layout.addWidget(self.speed)

    def _name(self) -> None:
        for field, name, tip in (
            (self.task, "Task", "What to do; Auto follows from selection, prompt and strength"),
            (self.strength, "Strength", "100 % repaints wholly; less keeps some of what is there"),
            (self.count, "Variations", "How many pictures to choose from"),
            (self.seed, "Seed", "The start of the noise; lock it to repeat or vary a picture"),
            (self.lock, "Lock seed", "Use this seed again"),
            (self.negative, "Avoid", "What should not be there (negative prompt)"),
            (self.model, "Model", "A model that the server has"),
            (self.steps, "Steps", "Denoising steps; Auto takes the model's own number"),
            (
                self.exact,
                "Exact selection",
                "Your selection becomes the layer mask as it is; otherwise the server widens and softens it",
            ),
            (self.fold, "More settings", "Negative prompt, model, style, LoRA, source, steps"),
        ):
            field.setAccessibleName(name)
            field.setToolTip(tip)


def _seed(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 2**64:
        raise ValueError(f"{text!r} is no seed; give a whole number from 0 to 2**64 - 1.")
    return int(text)
