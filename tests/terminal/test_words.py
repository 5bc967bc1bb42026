"""Numbers with their nouns, and features in the units of the log."""

import math

import pytest

from tonearm.ranking.feature_names import feature_title, feature_value
from tonearm.terminal.words import counted


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "0 plays"), (1, "1 play"), (1.0, "1 play"), (2, "2 plays"), (1250, "1,250 plays"), (0.5, "0.5 plays")],
)
def test_point_20_one_play_is_not_plays(n: float, said: str) -> None:
    """Point 20: "1 plays"."""
    assert counted(n, "play") == said


def test_other_words_have_their_forms_too() -> None:
    assert [counted(n, "entry", "is") for n in (1, 2)] == ["1 entry is", "2 entries are"]
    assert [counted(n, "test item", "counts") for n in (1, 2)] == ["1 test item counts", "2 test items count"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("user_tracks", math.log1p(5), "5 tracks"),
        ("user_tracks", math.log1p(1), "1 track"),
        ("item_plays_30d", math.log1p(1200), "1,200 plays"),
        ("item_recency", -2.5, "2.5 days"),
        ("artist_recency", -1.0, "1 day"),
        ("user_recent_share", 0.25, "25%"),
        ("als_score", 0.12345, "0.1235"),
        ("als_z", None, "unknown"),
        ("artist_plays", 1.0, "1 play"),
    ],
)
def test_point_20_features_in_natural_units(name: str, value: float | None, said: str) -> None:
    """Point 20: `user_tracks 1.792` is 5 tracks."""
    assert feature_value(name, value) == said
    assert feature_title(name) != name


def test_an_unknown_feature_keeps_its_name() -> None:
    assert (feature_title("odd"), feature_value("odd", 2.0)) == ("odd", "2")
