"""Measurements of speed, each a ratio to the same work done in process, in the same run. Never run as tests."""
