"""What counts as this computer, and Blender's rule about the rest."""

import pytest

from blender_addon.bridge.addresses import configured_address, is_loopback, refusal


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("", True),
        ("127.0.0.1:47110", True),
        ("127.9.9.9:1", True),
        ("localhost:47110", True),
        ("LocalHost", True),
        ("[::1]:47110", True),
        ("::1", True),
        ("unix:/tmp/socket", True),
        ("192.168.0.5:47110", False),
        ("0.0.0.0:47110", False),
        ("[2001:db8::1]:47110", False),
        ("gpu.example.org:47110", False),
        ("localhost.example.org:1", False),
        ("127.0.0.1.example.org:1", False),
    ],
)
def test_is_loopback(address: str, local: bool) -> None:
    assert is_loopback(address) is local


def test_refusal_names_the_switch_only_where_it_matters() -> None:
    assert refusal("127.0.0.1:1", online_access=False) == ""
    assert refusal("gpu.example.org:1", online_access=True) == ""
    assert "Allow Online Access" in refusal("gpu.example.org:1", online_access=False)


def test_configured_address_prefers_the_preference() -> None:
    environment = {"SCUMBLE_SERVER": "b:2"}
    assert configured_address(" a:1 ", environment) == "a:1"
    assert configured_address("", environment) == "b:2"
    assert configured_address("", {}) == ""
