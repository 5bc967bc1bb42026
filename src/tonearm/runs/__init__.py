"""The run directory: its lists, files, manifest, and how a finished run is read again."""
