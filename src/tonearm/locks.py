"""Turns that threads take."""

import threading

KERNELS = threading.RLock()
"""Held while compiled parallel loops run, as they may not run from several threads at once."""
