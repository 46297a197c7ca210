"""The parts of the embedded default model's training."""
