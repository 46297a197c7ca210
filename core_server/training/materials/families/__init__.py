"""All material families; importing this package registers them."""

from core_server.training.materials.families import (
    fabric,
    ground,
    masonry,
    metal,
    organic,
    panels,
    stone,
    tiles,
    wood,
)

__all__ = ["fabric", "ground", "masonry", "metal", "organic", "panels", "stone", "tiles", "wood"]
