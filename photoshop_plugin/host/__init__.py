"""The edge to Photoshop. `interface` is what the rest sees; all COM is in `com` and `application`."""
