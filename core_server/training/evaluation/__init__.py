"""Measures of the default model that do not come from the networks they judge."""
