"""Callbacks that measure, for any SB3 model."""
