"""The table of lists: what readers and writers of a run look up there."""

import pytest

from tonearm.runs.lists import FILES, FINAL, LISTS, key_of, title, within
from tonearm.sources import RECIPES


def test_a_list_of_a_source_goes_by_the_title_of_the_source() -> None:
    for name, recipe in RECIPES.items():
        assert title(name) == title(key_of(name)) == recipe.title
    assert {one.source for one in LISTS.values() if one.source} <= {*RECIPES}


def test_files_are_those_of_the_contract_the_final_list_first() -> None:
    assert FILES == {
        FINAL: "recommendations.parquet",
        "personal_als": "personal_als.parquet",
        "content": "content_recommendations.parquet",
        "fresh": "fresh_recommendations.parquet",
    }
    assert next(iter(FILES)) == FINAL


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recommendations", "final"),
        ("personal_als", "ALS"),
        ("top_popular", "popular"),
        ("user_knn", "user-kNN"),
        ("own_recent", "own-most-recent"),
        ("somebody's", "somebody's"),
    ],
)
def test_a_list_is_called_within_a_sentence(name: str, said: str) -> None:
    assert within(name) == said
