"""The contract's generated code. Never edited; `python protos/build.py` writes it."""
