"""Options, settings, column names and dates that mean harm, or mean nothing."""

from pathlib import Path

import pytest
from tests.e2e.command import tonearm
from tests.hostile.refused import assert_answered, assert_refused, bounded

LOG = "user_id,item_id,started_at\n1,5,2021-01-01\n2,7,2021-01-02\n1,7,2021-01-03\n2,5,2021-01-04\n"
DIGITS, DEEP = "9" * 5000, "[" * 100_000

FILES: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (b"\xff\xfe\x00", "cannot be read"),
    "UTF-16": ("seed = 1".encode("utf-16"), "cannot be read"),
    "a null byte": (b"seed = 1\x00", "is not TOML"),
    "a byte order mark": (b"\xef\xbb\xbfseed = 1", "is not TOML"),
    "an open section": (b"[als", "is not TOML"),
    "an open string": (b'sources = ["als', "is not TOML"),
    "a key twice": (b"seed = 1\nseed = 2", "is not TOML"),
    "a section twice": (b"[als]\n[als]", "is not TOML"),
    "a section and a key": (b"als.factors = 1\n[als]\nfactors = 2", "is not TOML"),
    "JSON": (b'{"seed": 1}', "is not TOML"),
    "YAML": (b"als:\n  factors: 3", "is not TOML"),
    "a pickle": (b"\x80\x04\x95c\x00posix\x8c\x06system", "cannot be read"),
    "a parquet file": (b"PAR1\x15\x04\x15\xff", "cannot be read"),
    "a call": (b"seed = __import__('os').system('id')", "is not TOML"),
    "a template": (b'seed = "{{7*7}}"', "seed = "),
    "a number of 5,000 digits": (f"seed = {DIGITS}".encode(), "is not TOML"),
    "a number of 5,000 digits, as text": (f"seed = '{DIGITS}'".encode(), "seed = "),
    "a hexadecimal number of 5,000 digits": (b"seed = 0x" + b"f" * 5000, "seed = "),
    "lists in lists": (f"seed = {DEEP}".encode(), "is not TOML"),
    "tables in tables": (b"seed = " + b"{a=" * 3000, "is not TOML"),
    "dots in dots": (b"a." * 3000 + b"b = 1", "section"),
    "sections in sections": (b"[" + b"a." * 3000 + b"b]\nc = 1", "section"),
    "a long unknown name": (b"a" * 100_000 + b" = 1", "no option"),
    "a long value": (b'seed = "' + b"x" * 1_000_000 + b'"', "seed = "),
    "a name that steers a terminal": (b'"\\u001b[2J" = 1', "no option"),
    "a name from right to left": ('"\u202eseed" = 1'.encode(), "no option"),
    "markup as a name": (b'"[red]x[/red]" = 1', "no option"),
    "an empty name": (b'"" = 1', "no option"),
    "a name of Python's": (b"__class__ = 1", "no option"),
    "a section of Python's": (b"[__init__]\n__globals__ = 1", "no section"),
    "an option of Python's": (b"[als]\n__dict__ = 1", "no option"),
    "a section as a number": (b"als = 1", "is a section"),
    "a section as a list": (b"[[als]]\nfactors = 1", "is a section"),
    "an option as a section": (b"[als.factors]\nx = 1", "als.factors"),
    "a date as a number": (b"seed = 2022-01-01", "seed = "),
    "a list as a number": (b"seed = [1]", "seed = "),
    "infinity as a whole number": (b"[als]\nfactors = inf", "als.factors"),
    "not a number": (b"[als]\nregularization = nan", "als.regularization"),
    "below zero": (b"seed = -1", "seed = "),
    "minus zero factors": (b"[als]\nfactors = -0", "als.factors"),
    "half a factor": (b"[als]\nfactors = 1.5", "als.factors"),
    "no source": (b"sources = []", "sources"),
    "a source that is none": (b'sources = ["os"]', "sources"),
    "a source as a number": (b"sources = [1]", "sources"),
    "sources as text": (b'sources = "als"', "sources"),
    "a proposer that takes no part": (b'sources = ["als"]\nproposers = ["ease"]', "ease"),
    "no cut-off": (b"[evaluation]\nks = []", "evaluation.ks"),
    "a cut-off of nothing": (b"[evaluation]\nks = [0]", "evaluation.ks"),
    "a feature that is none": (b'[ranker]\nfeatures = ["target"]', "target"),
    "columns as a number": (b"[data]\ncolumns = 1", "data.columns"),
    "a column as a number": (b"[data.columns]\nuser_id = 1", "data.columns"),
    "a share of everything": (b"[split]\nlabel_share = 1.0", "split.label_share"),
    "a cut-off beyond any list": (b"[evaluation]\nks = [1000000000000]", "evaluation.ks"),
    "a million million resamples": (b"[evaluation]\nresamples = 1000000000000", "evaluation.resamples"),
    "a million million candidates": (b"candidates = 1000000000000", "candidates"),
    "candidates beyond a rank of 16 bits": (b"candidates = 40000", "candidates"),
    "a million million threads": (b"threads = 1000000000000", "threads"),
    "a million million neighbours": (b"[user_knn]\nneighbours = 1000000000000", "user_knn.neighbours"),
    "a seed beyond 64 bits": (b"seed = 99999999999999999999999", "seed"),
    "a window of all time": (b"[split]\nlabel_days = 1e308", "split.label_days"),
}

SETTINGS: dict[str, str] = {
    "nothing": "",
    "an equals sign": "=",
    "a name alone": "als.factors",
    "no name": "=1",
    "no value": "als.factors=",
    "no section": ".factors=1",
    "no option": "als.=1",
    "two dots": "als..factors=1",
    "a dot": ".=1",
    "an unknown name": "als.factor=1",
    "a value too deep": "als.factors.x=1",
    "a line and another": "seed=1\nals.factors=2",
    "a line and a section": "seed=1\n[als]",
    "a number of 5,000 digits": f"seed={DIGITS}",
    "lists in lists": f"seed={DEEP}",
    "tables in tables": "seed=" + "{a=" * 3000,
    "sections in sections": "a." * 3000 + "b=1",
    "a long name": "a" * 100_000 + "=1",
    "a long value": "seed=" + "x" * 100_000,
    "a null byte": "seed=\x00",
    "half a character": "seed=\ud800",
    "half a character as a name": "\ud800=1",
    "a terminal's escape": "seed=\x1b]0;x\x07",
    "from right to left": "\u202eseed=1",
    "a section of nothing": "als=",
    "a call": "seed=__import__('os')",
    "another type": "sources={als=1}",
}

COLUMNS: dict[str, str] = {
    "an equals sign": "=",
    "a name alone": "user",
    "no column": "user=",
    "no name": "=UserID",
    "a comma": ",",
    "two commas": "user=a,,item=b",
    "an unknown name": "password=a",
    "a name twice": "user=a,user_id=b",
    "a column that is not there": "user=nobody",
    "half a character": "user=\ud800",
    "a terminal's escape": "user=\x1b[2J",
    "a long column": "user=" + "x" * 100_000,
    "a long name": "x" * 100_000 + "=user_id",
    "SQL": "user=user_id; DROP TABLE events",
    "a path": "user=../../etc/passwd",
    "an expression": "user=^.*$",
}

DATES: dict[str, str] = {
    "nothing": "",
    "a space": " ",
    "a year": "2022",
    "a month of thirteen": "2022-13-01",
    "the thirtieth of February": "2022-02-30",
    "the year nought": "0000-01-01",
    "a year of five digits": "99999-01-01",
    "25 o'clock": "2022-01-01T25:00",
    "a zone of 99 hours": "2022-01-01T00:00+99:00",
    "a date with a zone": "2022-01-01Z",
    "wide digits": "２０２２-01-01",
    "a null byte": "2022-01-01\x00",
    "a number": "1e10",
    "not a number": "nan",
    "less than nothing": "-1",
    "5,000 digits": DIGITS,
    "a thousand dates": "2022-01-01" * 1000,
    "a word": "today",
    "from right to left": "\u202e2022-01-01",
    "half a character": "\ud800",
    "ten digits of a second": "2021-01-02T00:00:00.1234567890",
    "before all times": "0001-01-01T00:00:00+14:00",
    "after all times": "9999-12-31T23:59:59-14:00",
    "before the log": "1999-01-01",
    "after the log": "2067-01-01",
}

FLAGS: dict[str, list[str]] = {
    "a flag that is none": ["--pickle", "x"],
    "a flag that is none, with a value": ["--events=x", "--eval=1"],
    "a preset that is a path": ["--preset", "../../etc/passwd"],
    "a preset of nothing": ["--preset", ""],
    "a preset that steers": ["--preset", "\x1b[31m"],
    "options that are a folder": ["--config", "."],
    "options that are nowhere": ["--config", "nowhere.toml"],
    "options that are a device": ["--config", "/dev/null/x"],
    "options with a null byte": ["--config", "a\x00b"],
    "options of no home": ["--config", "~nobody-of-that-name/x.toml"],
    "options with a name too long": ["--config", "x" * 5000],
    "a log that is nowhere": ["--events", "nowhere.csv"],
    "a log with a null byte": ["--events", "a\x00b.csv"],
    "a log with half a character": ["--events", "\ud800.csv"],
    "a log with a name too long": ["--events", "x" * 5000 + ".csv"],
    "a log of no home": ["--events", "~nobody-of-that-name/x.csv"],
    "a log at another kind of address": ["--events", "file:///etc/passwd"],
    "a log by FTP": ["--events", "ftp://localhost/x.csv"],
    "a log that is a script": ["--events", "javascript:alert(1)"],
    "a log of nothing": ["--events", ""],
    "a device": ["--events", "/dev/zero"],
    "a pattern that matches nothing": ["--events", "[[[*"],
    "a pattern that is not closed": ["--events", "x[1.csv"],
    "a catalogue that is nowhere": ["--items", "nowhere.csv"],
    "train alone": ["--train", "log.csv"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good log."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_options(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = FILES[name]
    (here / "bad.toml").write_bytes(content)
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", "log.csv", "--config", "bad.toml"), words)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here.is_dir()
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", "log.csv", f"--set={SETTINGS[name]}"))


@pytest.mark.parametrize("name", COLUMNS)
def test_names_of_columns(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here.is_dir()
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", "log.csv", f"--columns={COLUMNS[name]}"))


@pytest.mark.parametrize("name", DATES)
def test_a_date(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here.is_dir()
    with bounded():
        assert_refused(tonearm(capsys, "check", "--events", "log.csv", f"--test-from={DATES[name]}"))


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here.is_dir()
    given = FLAGS[name] if "--events" in " ".join(FLAGS[name]) else ["--events", "log.csv", *FLAGS[name]]
    with bounded():
        assert_refused(tonearm(capsys, "check", *given))


def test_nothing_is_wrong_with_the_rest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "good.toml").write_bytes(b"seed = 1\r\n[als]\r\nfactors = 2\r\n")
    columns = "--columns=user=user_id,item=item_id"
    assert_answered(tonearm(capsys, "check", "--events", "log.csv", "--config", "good.toml", "--set=seed=2", columns))
