"""The fold of what is faster at a cost: in sight is what the server can do with the model, and only that is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.photoshop_plugin.panel.window_desk import WindowDesk  # before Qt: it may skip

# isort: split
from PySide6.QtWidgets import QApplication

from scumble.client import DenoiserPrecision, Extent, Model, ModelState
from tests.fakes.photoshop import Application
from tests.photoshop_plugin.scene import open_document

if TYPE_CHECKING:
    from tests.fakes.photoshop.com import Com

UNET = Model(
    model_id="unet",
    title="A UNet",
    family="stable_diffusion",
    state=ModelState.LOADED,
    license="MIT",
    commercial_use=True,
    size_bytes=1,
    min_extent=Extent(64, 64),
    max_extent=Extent(512, 512),
    num_inference_steps=20,
    guidance_scale=7.5,
    scheduler="euler",
    tasks=("inpaint",),
    description="",
    is_default=True,
    shortcuts=("few_step", "guidance_end", "denoiser_precision"),
)
CACHED = replace(UNET, model_id="cached", is_default=False, shortcuts=("block_cache",))
PLAIN = replace(UNET, model_id="plain", is_default=False, shortcuts=())


def desk_with(application: QApplication, com: Com, folder: Path) -> WindowDesk:
    desk = WindowDesk(application, com, folder)
    desk.server.offered_models = [UNET, CACHED, PLAIN]
    desk.server.precisions = (DenoiserPrecision.INT8,)
    desk.panel.controller.look_at_server()
    desk.until(desk.window.form.speed.isVisible)
    return desk


def test_only_what_the_model_can_do_is_shown_and_asked(
    photoshop: Application, application: QApplication, com: Com, tmp_path: Path
) -> None:
    open_document(photoshop)
    desk = desk_with(application, com, tmp_path)
    form, speed = desk.window.form, desk.window.form.speed
    assert not speed.guided.isVisible(), "folded"
    desk.click(speed.fold)
    assert speed.few_step.isVisible() and speed.guided.isVisible() and speed.precision.isVisible()
    assert not speed.block_cache.isVisible()
    titles = [speed.precision.itemText(k) for k in range(speed.precision.count())]
    assert titles == ["As loaded", "8-bit integer"]
    speed.few_step.setCurrentIndex(2)
    speed.guided.setValue(50)
    speed.block_cache.setValue(0.08)
    speed.precision.setCurrentIndex(1)

    def asked() -> tuple[bool | None, float | None, float | None, str | None]:
        it = form.settings()
        return it.few_step, it.guidance_end, it.block_cache, it.denoiser_precision

    assert asked() == (False, 0.5, None, "int8")
    form.model.choose("cached")
    assert speed.block_cache.isVisible() and not speed.guided.isVisible()
    assert asked() == (None, None, 0.08, None)
    form.model.choose("plain")
    assert not speed.isVisible()
    assert asked() == (None, None, None, None)
    form.model.choose("unet")
    desk.until(desk.window.generate_button.isEnabled)
    desk.click(desk.window.generate_button)
    desk.until(lambda: desk.window.strip.list.count() == 1)
    [request] = desk.server.requests
    assert (request.few_step, request.guidance_end, request.denoiser_precision) == (
        False, 0.5, "int8",
    )  # fmt: skip

    speed.few_step.setCurrentIndex(0)
    speed.guided.setValue(100)
    speed.precision.setCurrentIndex(0)
    assert asked() == (None, None, None, None), "as the model does by itself"
    desk.click(desk.window.strip.again_button)
    assert asked() == (False, 0.5, None, "int8"), "Again brings them back"


def test_they_come_back_after_a_restart(
    application: QApplication, com: Com, tmp_path: Path
) -> None:
    first = desk_with(application, com, tmp_path)
    speed = first.window.form.speed
    speed.fold.setChecked(True)
    speed.few_step.setCurrentIndex(1)
    speed.guided.setValue(65)
    speed.block_cache.setValue(0.12)
    speed.precision.setCurrentIndex(1)
    asked = first.window.form.settings()
    first.panel.close()
    second = desk_with(application, com, tmp_path)
    form = second.window.form
    assert form.speed.fold.isChecked()
    assert form.settings() == asked
    form.model.choose("cached")
    assert form.settings().block_cache == pytest.approx(0.12)
    second.panel.close()


def test_a_server_that_tells_nothing_of_it_shows_no_fold(
    photoshop: Application, window_desk: WindowDesk
) -> None:
    open_document(photoshop)
    window_desk.until(window_desk.window.generate_button.isEnabled)
    assert not window_desk.window.form.speed.isVisible()
