"""Rules for the final list: what may be shown, limits, versions, diversity, shares."""
