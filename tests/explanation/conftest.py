"""The run made by hand, and the tables that it was made of."""

from tests.hand_made import make_run, small_catalogue, small_log

__all__ = ["make_run", "small_catalogue", "small_log"]
