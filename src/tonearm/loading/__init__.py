"""From files to a data set: open, count, check, put in order."""
