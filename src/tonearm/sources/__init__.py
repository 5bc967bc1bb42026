"""Candidate sources: each a frozen recipe whose `fit` returns a frozen model, all behind one protocol."""
