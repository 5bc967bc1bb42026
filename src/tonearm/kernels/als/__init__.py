"""Alternating least squares: fit, fold-in, optimum, singular vectors."""
