"""The real window, clicked and typed into, drawn off screen, before the in-memory Photoshop and a scripted server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.photoshop_plugin.panel.window_desk import LEFT, WindowDesk  # before Qt: it may skip

# isort: split
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible, QImage, QKeySequence, QPalette, QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from photoshop_plugin.document import Source
from photoshop_plugin.panel.hotkey import windows_keys
from photoshop_plugin.panel.pictures import request_picture, to_image
from photoshop_plugin.panel.preferences import Preferences, apply_scheme
from photoshop_plugin.task import Task
from scumble.client import ColorSpace, NotRunning, Pixels, WorkerState
from tests.fakes.photoshop import Application
from tests.photoshop_plugin.scene import FILL_TITLE, SIZE, open_document, texture

if TYPE_CHECKING:
    from tests.fakes.photoshop.com import Com


@pytest.fixture
def desk(window_desk: WindowDesk) -> WindowDesk:
    return window_desk


def test_select_type_generate_apply(photoshop: Application, desk: WindowDesk) -> None:
    document = open_document(photoshop)
    window = desk.window
    desk.until(window.generate_button.isEnabled)
    assert "selected 47 x 58 px" in window.status.document_label.text()
    QTest.keyClicks(window.form.prompt, "a red barn")
    window.form.count.setValue(2)
    QTest.keyClick(window.form.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    desk.until(lambda: window.strip.list.count() == 2)
    [request] = desk.server.requests
    assert (request.prompt, request.count, request.strength) == ("a red barn", 2, 1.0)
    assert window.form.seed.text() == window.strip.list.item(0).text()
    assert window.strip.list.item(0).isSelected()
    assert document.history[-1].name != FILL_TITLE

    desk.click(window.strip.all_button)
    desk.until(lambda: "Laid back" in window.message.text())
    assert document.history[-1].name == FILL_TITLE
    desk.click(window.strip.discard_button)
    assert window.strip.list.count() == 1


def test_a_double_click_lays_one_picture_back(photoshop: Application, desk: WindowDesk) -> None:
    document = open_document(photoshop)
    desk.until(desk.window.generate_button.isEnabled)
    desk.click(desk.window.generate_button)
    strip = desk.window.strip.list
    desk.until(lambda: strip.count() == 1)
    layers = len(document.stack)
    place: QPoint = strip.visualItemRect(strip.item(0)).center()
    QTest.mouseClick(strip.viewport(), LEFT, pos=place)
    QTest.mouseDClick(strip.viewport(), LEFT, pos=place)
    desk.until(lambda: len(document.stack) == layers + 1)


def test_a_result_under_the_mouse_is_shown_larger(photoshop: Application, desk: WindowDesk) -> None:
    open_document(photoshop)
    desk.until(desk.window.generate_button.isEnabled)
    desk.window.form.prompt.setPlainText("<b>moss</b> & stone")
    desk.click(desk.window.generate_button)
    strip = desk.window.strip.list
    desk.until(lambda: strip.count() == 1)
    tip = QTextDocument()
    tip.setHtml(strip.item(0).toolTip())
    assert "<b>moss</b> & stone\nseed" in tip.toPlainText(), "words, not markup"
    assert tip.size().height() > 60, "with its picture"


def test_settings_come_back_after_a_restart(
    photoshop: Application, application: QApplication, com: Com, tmp_path: Path
) -> None:
    open_document(photoshop)
    first = WindowDesk(application, com, tmp_path)
    form = first.window.form
    QTest.keyClicks(form.prompt, "moss")
    form.strength.setValue(35)
    form.seed.setText("17")
    form.lock.setChecked(True)
    form.fold.setChecked(True)
    form.steps.setValue(9)
    form.exact.setChecked(True)
    first.panel.close()
    second = WindowDesk(application, com, tmp_path)
    settings = second.window.form.settings()
    assert settings == form.settings()
    assert (settings.prompt, settings.strength, settings.seed) == ("moss", 0.35, 17)
    assert settings.num_inference_steps == 9
    assert settings.options.exact_selection
    second.panel.close()


def test_again_brings_the_settings_of_a_picture_back(
    photoshop: Application, desk: WindowDesk
) -> None:
    open_document(photoshop)
    form = desk.window.form
    desk.until(desk.window.generate_button.isEnabled)
    form.prompt.setPlainText("moss")
    form.strength.setValue(40)
    form.seed.setText("99")
    form.lock.setChecked(True)
    desk.click(desk.window.generate_button)
    desk.until(lambda: desk.window.strip.list.count() == 1)
    form.prompt.setPlainText("something else")
    form.strength.setValue(90)
    form.lock.setChecked(False)
    desk.click(desk.window.strip.again_button)
    settings = form.settings()
    assert (settings.prompt, settings.strength, settings.seed) == ("moss", 0.4, 99)


def test_troubles_are_said_and_nothing_can_be_pressed(desk: WindowDesk) -> None:
    desk.server.info_fails = NotRunning("No server <b>here</b>.")
    window = desk.window
    desk.until(lambda: "not running" in window.status.document_label.text())
    desk.until(lambda: "No server" in window.status.server_label.text())
    assert "&lt;b>" in window.status.server_label.text(), "never markup"
    assert window.status.start_button.isVisible()
    assert not window.generate_button.isEnabled()


def test_a_worker_that_starts_is_said_and_not_waited_for(
    photoshop: Application, desk: WindowDesk
) -> None:
    open_document(photoshop)
    line = desk.window.status.server_label
    desk.server.worker_state = WorkerState.RESTARTING
    desk.until(lambda: line.text() == "Server: The worker starts.")
    assert not desk.window.status.start_button.isVisible()
    desk.until(desk.window.generate_button.isEnabled)
    desk.server.worker_state = WorkerState.READY
    desk.until(lambda: line.text() == "Server: cpu")
    assert desk.window.form.look.style.count() > 1, "its lists come with it"


def test_what_will_be_done_is_said_before_it_runs(photoshop: Application, desk: WindowDesk) -> None:
    document = open_document(photoshop)
    window, form = desk.window, desk.window.form
    desk.until(window.generate_button.isEnabled)
    assert form.task.currentText() == "Auto: Remove what is selected"
    form.prompt.setPlainText("moss")
    assert form.task.currentText() == "Auto: Generative fill"
    form.strength.setValue(60)
    assert form.task.currentText() == "Auto: Repaint what is there"
    form.prompt.setPlainText("")
    document.select(None)
    desk.until(lambda: not window.generate_button.isEnabled())
    assert "Select the part" in window.generate_button.toolTip()


def test_fields_come_with_the_task_that_needs_them(
    photoshop: Application, desk: WindowDesk
) -> None:
    document = open_document(photoshop)
    window, form = desk.window, desk.window.form
    desk.until(window.generate_button.isEnabled)
    desk.until(lambda: form.look.lora.count() == 2)

    def choose(task: Task) -> None:
        form.task.setCurrentIndex(form.task.findData(task.value))

    fields = form.task_fields
    assert not fields.isVisible()
    choose(Task.EXTEND)
    assert fields.sides["left"].isVisible() and not fields.factor.isVisible()
    fields.sides["left"].setValue(8)
    choose(Task.UPSCALE)
    assert fields.factor.isVisible() and form.strength.value() == 30
    choose(Task.EXTEND)
    assert form.strength.value() == 85
    form.look.lora.setCurrentIndex(1)
    form.look.weight.setValue(0.5)
    form.look.style.choose("ink")
    form.look.source.setCurrentIndex(2)
    desk.click(window.generate_button)
    desk.until(lambda: window.strip.list.count() == 1)
    [request] = desk.server.requests
    assert (request.left, request.top, request.right, request.bottom) == (8, 0, 0, 0)
    assert [(it.name, it.weight) for it in request.adapters] == [("ink", 0.5)]
    assert request.style == "ink"
    desk.click(window.strip.apply_button)
    desk.until(lambda: document.extent == (SIZE[0] + 8, SIZE[1]))

    for field in (*fields.sides.values(), form.look.weight):
        field.setValue(0)
    form.look.lora.setCurrentIndex(0)
    form.look.source.setCurrentIndex(0)
    choose(Task.AUTO)
    desk.until(lambda: "Laid back" in window.message.text())
    desk.click(window.strip.again_button)
    settings = form.settings()
    assert (settings.task, settings.sides.left) == (Task.EXTEND, 8)
    assert (settings.source, settings.style) == (Source.BELOW, "ink")
    assert settings.adapters == request.adapters


def test_live_shows_its_pictures_and_lays_one_back(
    photoshop: Application, desk: WindowDesk
) -> None:
    document = open_document(photoshop)
    window, form, live = desk.window, desk.window.form, desk.window.live
    desk.until(live.switch.isEnabled)
    desk.click(live.switch)
    desk.until(lambda: "prompt is empty" in window.message.text())
    assert not live.switch.isChecked()
    assert form.strength.value() == 100

    form.prompt.setPlainText("moss")
    desk.click(live.switch)
    desk.until(live.apply_button.isVisible)
    assert form.strength.value() == 60, "at 100 it would not follow what is drawn"
    assert window.picture.isVisible()
    assert "s a picture" in live.told.text()
    [session] = desk.server.live_sessions
    form.prompt.setPlainText("rust")
    desk.until(lambda: session.settings.prompt == "rust")
    desk.click(live.apply_button)
    desk.until(lambda: "Laid back" in window.message.text())
    assert document.stack[0]._state.name.startswith("Scumble: rust")
    assert not live.switch.isChecked() and not window.picture.isVisible()
    assert form.strength.value() == 100

    desk.click(live.switch)
    desk.until(live.apply_button.isVisible)
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not live.switch.isChecked() and not desk.panel.controller.is_live

    desk.click(live.switch)
    desk.until(live.apply_button.isVisible)
    window.close()
    assert not desk.panel.controller.is_live, "nobody would see it"
    assert desk.panel.store.value("strength") == 100, "what was lent is not remembered"


def test_a_pattern_needs_no_document(photoshop: Application, desk: WindowDesk) -> None:
    window, form = desk.window, desk.window.form
    desk.until(lambda: "No document" in window.status.document_label.text())
    form.prompt.setPlainText("moss")
    assert not window.generate_button.isEnabled()
    form.task.setCurrentIndex(form.task.findData(Task.PATTERN.value))
    form.task_fields.pattern_side.setValue(64)
    desk.until(window.generate_button.isEnabled)
    desk.click(window.generate_button)
    desk.until(lambda: window.strip.list.count() == 1)
    desk.click(window.strip.apply_button)
    desk.until(lambda: "patterns" in window.message.text())
    [pattern] = photoshop.patterns.values()
    assert pattern.shape[:2] == (64, 64)


def test_a_seed_that_is_none_is_said(photoshop: Application, desk: WindowDesk) -> None:
    open_document(photoshop)
    desk.until(desk.window.generate_button.isEnabled)
    desk.window.form.seed.setText("twelve")
    desk.window.form.lock.setChecked(True)
    desk.click(desk.window.generate_button)
    assert "no seed" in desk.window.message.text()
    assert desk.server.requests == []


def test_everything_has_a_name_for_screen_readers_and_the_keyboard(desk: WindowDesk) -> None:
    """What a screen reader is told, which Qt takes from names, texts and the labels of fields."""
    desk.window.form.fold.setChecked(True)
    unnamed = [
        type(widget).__name__
        for widget in desk.window.findChildren(QWidget)
        if widget.isVisible()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not widget.objectName().startswith("qt_")
        and not QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name)
    ]
    assert unnamed == []


def test_no_two_things_share_an_alt_key(desk: WindowDesk) -> None:
    texts = [it.text() for it in desk.window.findChildren(QAbstractButton)]
    texts += [it.text() for it in desk.window.findChildren(QLabel) if it.buddy()]
    keys = [QKeySequence.mnemonic(text).toString() for text in texts]
    keys = [key for key in keys if key]
    assert len(keys) > 12
    assert sorted(keys) == sorted(set(keys))


def test_what_is_sent_is_drawn(photoshop: Application, desk: WindowDesk) -> None:
    document = open_document(photoshop, icc=b"")
    desk.until(desk.window.generate_button.isEnabled)
    prepared = []
    desk.panel.window.news.connect(lambda it: prepared.append(getattr(it, "prepared", None)))
    desk.click(desk.window.generate_button)
    desk.until(lambda: any(prepared))
    sent = next(it for it in prepared if it)
    picture = request_picture(sent)
    assert (picture.width(), picture.height()) == tuple(sent.plan.context.extent)
    shown = to_image(sent.capture.image)
    box = sent.plan.mask
    inside = (box.x - sent.plan.context.x + box.width // 2, box.y - sent.plan.context.y + 29)
    assert picture.pixelColor(0, 0).rgb() == shown.pixelColor(0, 0).rgb()
    assert picture.pixelColor(*inside) != shown.pixelColor(*inside)
    assert document.flatten() is not None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_for_the_screen(dtype: str, channels: int) -> None:
    array = texture(9, 5, "uint16" if dtype == "uint16" else "uint8", channels)
    if dtype == "float32":
        array = (array / 255).astype("float32")
    image = to_image(Pixels.from_numpy(array, ColorSpace.SRGB))
    assert (image.width(), image.height()) == (9, 5)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    red = round(float(array[2, 7, 0]) / full * 255)
    assert QImage(image).pixelColor(7, 2).red() == red


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Ctrl+Alt+G", (3, 0x47)),
        ("Ctrl+Shift+5", (6, 0x35)),
        ("Alt+F9", (1, 0x78)),
        ("Meta+G", (8, 0x47)),
        ("G", None),
        ("Shift+G", None),
        ("Ctrl+K, Ctrl+C", None),
        ("Ctrl+PgUp", None),
    ],
)
def test_hot_keys_of_windows(text: str, keys: tuple[int, int] | None) -> None:
    assert windows_keys(text) == keys


def test_the_settings_are_written_when_accepted(desk: WindowDesk) -> None:
    dialog = Preferences(desk.panel.store)
    dialog.server.setText(" studio:7861 ")
    dialog.scheme.setCurrentIndex(1)
    dialog.reject()
    assert desk.panel.store.value("server", "") == ""
    dialog.accept()
    assert desk.panel.store.value("server") == "studio:7861"
    assert desk.panel.store.value("scheme") == "dark"


def test_dark_and_light(application: QApplication) -> None:
    def lightness() -> int:
        return application.palette().color(QPalette.ColorRole.Window).lightness()

    before = lightness()
    apply_scheme("dark")
    assert lightness() < 100
    assert application.palette().color(QPalette.ColorRole.WindowText).lightness() > 200
    apply_scheme("light")
    assert lightness() > 150
    apply_scheme("system")
    assert lightness() == before
