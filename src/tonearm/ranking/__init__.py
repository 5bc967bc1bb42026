"""From sources to a final list: candidates, features, ranker, recommender."""
