"""The lists of a run, each entered here and nowhere else: its key in metrics.json, its file, its title, what it is."""

from dataclasses import dataclass

FINAL, UNSHAPED, POPULAR, FRESH = "recommendations", "recommendations_unshaped", "top_popular", "fresh"


@dataclass(frozen=True)
class ListInfo:
    """One list.

    key: as in metrics.json; title: as people call it, `within` where that is more than lower case within a sentence
    source: whose list it is; None for what no source makes
    file: where each user's list is written to; None where it is only measured
    about: what it is
    """

    key: str
    title: str
    about: str
    source: str | None = None
    file: str | None = None
    within: str | None = None


LISTS = {
    one.key: one
    for one in (
        ListInfo(
            FINAL,
            "Final list",
            "the candidates of all sources, ranked and shaped",
            file="recommendations.parquet",
            within="final",
        ),
        ListInfo("personal_als", "ALS", "what ALS says", "als", "personal_als.parquet"),
        ListInfo("content", "Content", "alike by genre", "content", "content_recommendations.parquet"),
        ListInfo(FRESH, "Fresh", "alike by genre, never played by anybody", None, "fresh_recommendations.parquet"),
        ListInfo(UNSHAPED, "Unshaped", "the final list before shaping"),
        ListInfo(POPULAR, "Popular", "the most played, the same for everybody", "popular"),
        ListInfo("own_frequent", "Own most frequent", "what a user played most", within="own-most-frequent"),
        ListInfo("own_recent", "Own most recent", "what a user played last", within="own-most-recent"),
    )
}
"""Those that have a file or a name of their own; the lists of other sources go by the sources' names and titles."""

FILES = {one.key: one.file for one in LISTS.values() if one.file is not None}
"""The files with a list for each user, by key.

Content is there only where items have genres, and fresh where nobody has played some of those.
"""

POPULAR_FILE = f"{POPULAR}.parquet"
"""The popular list, which is one for everybody."""

SIMILAR_FILE, SIMILAR = "similar.parquet", "similar"
"""The items that are similar to each, and what their list is called."""

SIMILAR_BY = {
    "blend": "by ALS vectors and common listeners, each as a share of the nearest, little-known ones less",
    "als": "by cosine of ALS vectors",
}
"""What similar items go by, as `output.similar_by` names it."""

_KEYS = {one.source: one.key for one in LISTS.values() if one.source is not None}


def key_of(source: str) -> str:
    """The key of a source's list."""
    return _KEYS.get(source, source)


def title(name: str) -> str:
    """A list or source as people call it; what is neither goes by its own name."""
    key = key_of(name)
    if key in LISTS:
        return LISTS[key].title
    if key == SIMILAR:
        return "Similar tracks"
    from tonearm.sources.registry import RECIPES  # takes a second, which a look at lists with files need not wait for

    return RECIPES[key].title if key in RECIPES else name


def within(name: str) -> str:
    """The same within a sentence, before the word list."""
    known, words = LISTS.get(key_of(name)), title(name)
    if known is not None and known.within is not None:
        return known.within
    if words == name or words.isupper():
        return words
    return words[:1].lower() + words[1:]
