"""Tests of the contract's Python side and the client."""
