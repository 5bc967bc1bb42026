"""What a synthetic log looks like: its sizes and its habits."""

from dataclasses import dataclass, replace

from tonearm.errors import ConfigError
from tonearm.synth.words import GENRES

N_DAYS = 365  # 2022
TEST_DAY = 349  # 2022-12-16, counted from 2022-01-01
N_PERIODS = 24  # each month in two, the second half from the 16th


@dataclass(frozen=True)
class Preset:
    """Sizes and habits of a log; all of them are met exactly but for `genre_pairs` and the mean chances.

    users, items, artists, albums, genres: the catalogue knows them all; `genres_used` of the genres are carried by
    tracks. events: listens, repeats included. scenes: groups of artists that listeners share, several to a genre.
    median_plays, max_plays: of a listener, mean = events / users. test_users: listeners heard from on or after
    2022-12-16, the cold ones included; cold_users: those heard from only then; test_events: their listens then.
    popularity_skew: exponent on the popularity curve of the reference log (1 = as there, less = flatter).
    new_items: share released during the year. genre_pairs: mean genres of a track. mainstream, loyalty, repeats:
    mean chances that a listen follows the crowd, goes to a favourite artist, repeats an earlier track. id_gap:
    largest step between neighbouring user ids. clock: times of day, or only days.
    """

    name: str
    users: int
    items: int
    events: int
    artists: int
    albums: int
    scenes: int
    median_plays: float
    max_plays: int
    test_users: int
    cold_users: int
    test_events: int
    genres: int = 166
    genres_used: int = 137
    genre_pairs: float = 1.61
    popularity_skew: float = 0.6
    new_items: float = 0.12
    mainstream: float = 0.1
    loyalty: float = 0.45
    repeats: float = 0.2
    id_gap: int = 3
    clock: bool = True

    def __post_init__(self) -> None:
        """Raises: ConfigError for sizes that cannot be met together."""
        limits = (
            ("genres", self.genres, len(GENRES)),
            ("genres_used", self.genres_used, self.genres),
            ("artists", self.artists, self.albums),
            ("albums", self.albums, self.items),
            ("scenes", self.scenes, self.artists),
            ("max_plays", self.max_plays, self.items // 2),
            ("test_users", self.test_users, self.users),
            ("cold_users", self.cold_users, self.test_users),
            ("test_users", self.test_users, self.test_events),
            ("users * 2", self.users * 2, self.events),
        )
        for option, value, limit in limits:
            if not 0 < value <= limit:
                raise ConfigError(f"preset {self.name}: {option} is {value:,}, 1 to {limit:,} are possible.")
        if self.genres_used < 3:
            raise ConfigError(f"preset {self.name}: genres_used is {self.genres_used}, at least 3 are needed.")
        if not self.median_plays < self.events / self.users < self.max_plays:
            raise ConfigError(
                f"preset {self.name}: the mean of {self.events / self.users:.1f} plays a user must lie between "
                f"median_plays {self.median_plays} and max_plays {self.max_plays}."
            )


# users, items, events, artists, albums, scenes, median_plays, max_plays, test_users, cold_users, test_events
_TINY = Preset(
    "tiny", 200, 300, 6_000, 45, 90, 20, 20, 140, 110, 8, 480, genres=16, genres_used=12, popularity_skew=0.4
)
_SMALL = Preset(
    *("small", 5_000, 10_000, 300_000, 1_500, 6_500, 150, 33, 1_500, 2_850, 110, 19_000), genres=90, genres_used=70
)
_MEDIUM = Preset("medium", 24_000, 100_000, 5_000_000, 15_400, 66_000, 400, 80, 6_000, 13_700, 540, 315_000)
_YANDEX = replace(
    Preset(
        "yandex", 1_373_221, 1_000_000, 222_629_898, 153_581, 658_724, 1_200, 55, 16_637, 783_525, 30_655, 14_029_898
    ),
    popularity_skew=1.0,
    repeats=0.0,
    id_gap=1,
    clock=False,
)
PRESETS = {preset.name: preset for preset in (_TINY, _SMALL, _MEDIUM, _YANDEX)}
