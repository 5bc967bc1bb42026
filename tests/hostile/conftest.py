"""The shared tiny log and run."""

from tests.quick import tiny_log, tiny_run

__all__ = ["tiny_log", "tiny_run"]
