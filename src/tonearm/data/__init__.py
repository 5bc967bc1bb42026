"""What the whole pipeline works on: the event log, the catalogue, blocks of users, all by index."""
