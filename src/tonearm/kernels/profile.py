"""Kernels that describe a log: how many events and users fall into each stretch of time."""

import numpy as np

from tonearm.kernels.machine.parallel import jit_parallel, prange
from tonearm.types import Int32s, Int64s

CHUNKS = 64


@jit_parallel
def count_by_time(start: Int64s, stop: Int64s, time: Int32s, edges: Int64s) -> tuple[Int64s, Int64s]:
    """Events, and users with an event, in each stretch edges[b] <= time < edges[b + 1]; (n,) int64 both.

    start, stop: each user's events in `time`, which ascends within a user
    edges: (n + 1,) int64 ascending; no event lies outside
    """
    n, n_users = len(edges) - 1, len(start)
    events = np.zeros((CHUNKS, n), np.int64)
    users = np.zeros((CHUNKS, n), np.int64)
    for chunk in prange(CHUNKS):
        for u in range(n_users * chunk // CHUNKS, n_users * (chunk + 1) // CHUNKS):
            b, last = 0, -1
            for place in range(start[u], stop[u]):
                while time[place] >= edges[b + 1]:
                    b += 1
                events[chunk, b] += 1
                if b != last:
                    users[chunk, b] += 1
                    last = b
    return events.sum(axis=0), users.sum(axis=0)
