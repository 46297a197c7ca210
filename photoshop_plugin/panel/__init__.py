"""The companion panel: a small window beside Photoshop. `controller` and `history` know no Qt."""
