"""Live painting from the in-memory Photoshop to a real server and back."""

from __future__ import annotations

from pathlib import Path

from photoshop_plugin.panel.events import Applied, LiveShown, ServerSeen
from photoshop_plugin.settings import Settings
from scumble.client import connect
from tests.fakes.photoshop import Application
from tests.photoshop_plugin.panel.conftest import Desk
from tests.photoshop_plugin.profiles import adobe_rgb_like
from tests.photoshop_plugin.scene import CHANGED, SELECTED, Seen, open_document
from tests.real_server import running_server


def test_a_real_server_paints_live(photoshop: Application, desk: Desk, tmp_path: Path) -> None:
    document = open_document(photoshop, dtype="uint16", icc=adobe_rgb_like())
    before = Seen(document)
    with running_server(tmp_path / "data") as server:
        desk.controller.server.connect = lambda: connect(data_dir=server.data_dir)
        desk.controller.look_at_server()
        assert desk.wait_for(ServerSeen).styles
        desk.controller.start_live(Settings(prompt="moss", strength=0.5, seed=3))
        shown = desk.wait_for(LiveShown, lambda it: it.picture is not None)
        assert shown.picture is not None
        assert shown.picture.pixels.extent == SELECTED[2:]
        assert shown.picture.pixels.sample_type.value == "u16"
        desk.controller.apply_live()
        desk.wait_for(Applied)
    layer = document.stack[0]._state
    assert (layer.x, layer.y, *layer.pixels.shape[1::-1]) == SELECTED
    assert before.differences(Seen(document), but=CHANGED) == []
    assert (
        document.flatten()[document.selected == 0] == before.picture[document.selected == 0]
    ).all()
