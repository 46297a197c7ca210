"""Training of the embedded default model and of artists' own adapters."""
