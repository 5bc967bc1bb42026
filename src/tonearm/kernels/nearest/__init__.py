"""Nearest vectors: exact top-k, similar items, exact and approximate."""
