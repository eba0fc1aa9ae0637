"""Measurements, with their raw rows in results/."""
