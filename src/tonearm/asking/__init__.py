"""What callers ask with and get: their ids, what they played since, and tables of lists."""
