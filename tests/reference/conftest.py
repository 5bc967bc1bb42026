"""The shared tiny log."""

from tests.quick import tiny_log

__all__ = ["tiny_log"]
