"""Lists that players ask for: versions of runs in a store, a gate before each, and a service."""
