"""The contract, checked from outside Python."""
