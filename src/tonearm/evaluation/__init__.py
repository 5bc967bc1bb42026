"""How good lists are: meters, intervals, comparisons, the funnel, and words for them."""
