"""Turns that threads take."""

import threading

KERNELS = threading.RLock()
"""Held while kernels run beside a BLAS of one thread, which is a setting of the whole process."""
