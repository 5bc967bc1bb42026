"""Numbers with their nouns, and the names of lists and sources."""

TITLES = {
    "recommendations": "Final list",
    "recommendations_unshaped": "Unshaped",
    "top_popular": "Popular",
    "popular": "Popular",
    "personal_als": "ALS",
    "als": "ALS",
    "content": "Content",
    "fresh": "Fresh",
    "item_item": "Item-item",
    "ease": "EASE",
    "spectral": "Spectral",
    "user_knn": "User-kNN",
    "recent": "Recent",
    "trend": "Trend",
    "again": "Again",
    "own_frequent": "Own most frequent",
    "own_recent": "Own most recent",
}
"""Lists, and the sources behind them, as the report calls them; others go by their own names."""

ODD = {"entry": "entries"}
VERBS = {"is": "are", "has": "have", "does": "do"}


def counted(n: float, noun: str, verb: str = "") -> str:
    """1 play, 2 plays, 1,250 plays, 0.5 plays: a number with its noun, and a verb, in the right form."""
    one = n == 1
    said = f"{number(n)} {noun if one else ODD.get(noun, f'{noun}s')}"
    if not verb:
        return said
    return f"{said} {verb if one else VERBS.get(verb, verb.removesuffix('s'))}"


def number(n: float) -> str:
    """With commas, and with digits after the point only where there are some."""
    return f"{n:,.0f}" if float(n).is_integer() or abs(n) >= 10_000 else f"{n:,.4g}"


def title(name: str) -> str:
    """A list or source as people call it."""
    return TITLES.get(name, name)
