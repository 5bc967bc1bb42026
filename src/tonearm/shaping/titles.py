"""Titles without what tells one version of a track from another."""

import re
from collections.abc import Sequence

import polars as pl

VERSION_WORDS = (
    *("remaster", "remastered", "remix", "mix", "live", "edit", "edition", "version", "mono", "stereo", "demo"),
    *("acoustic", "unplugged", "instrumental", "karaoke", "extended", "deluxe", "bonus", "explicit", "clean"),
    *("single", "re-recorded", "sped up", "slowed", "feat", "ft", "featuring", "ремастер", "ремикс", "версия"),
    *("концерт", "концертная", "концертная запись", "радиоверсия", "акустика", "демо", "инструментал", "караоке"),
)


def plain_titles(titles: pl.Series, version_words: Sequence[str] = VERSION_WORDS) -> pl.Series:
    """Titles in lower case without punctuation, and without what tells versions of one track apart.

    "Song (2011 Remaster)", "Song - Live at Home" and "SONG feat. Anyone" are all "song".
    """
    text = titles.rename("title").str.normalize("NFKC").str.to_lowercase()
    short = text
    if version_words:
        word = rf"\b(?:{'|'.join(re.escape(word.lower()) for word in version_words)})\b"
        short = short.str.replace_all(rf"\s*[(\[][^)\]]*{word}[^)\]]*[)\]]", "")
        short = short.str.replace(rf"\s+[-–—]\s+[^-–—]*{word}.*$", "")
    short = short.str.replace(r"\s+(?:feat|ft|featuring)\.?\s.*$", "")
    short = short.str.replace_all(r"[^\w]+", " ").str.strip_chars()
    return short.zip_with(short.fill_null("") != "", text)
