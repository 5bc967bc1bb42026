"""The best few of many: heaps, keys, binary search, lists of rows."""
