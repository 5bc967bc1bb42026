"""What `pip install` gets: a wheel that holds all of the package, made from the source distribution."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ran(*command: object, **environment: str) -> str:
    """What a command of this Python prints, without the variables that point Python elsewhere."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    given = [sys.executable, *map(str, command)]
    done = subprocess.run(given, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_wheel_holds_the_whole_package_and_works_away_from_the_checkout(tmp_path: Path) -> None:
    """Built from the source distribution; one test, as two builds at once are in each other's way."""
    ran("-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    package = ROOT / "src" / "tonearm"
    wanted = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} == wanted
    assert "tonearm/py.typed" in wanted

    place = tmp_path / "site"
    ran("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel)
    code = "import tonearm, tonearm.config; print(tonearm.__file__, tonearm.config.to_toml(tonearm.Config()))"
    answer = ran("-c", code, PYTHONPATH=str(place))
    assert answer.startswith(str(place))
    assert "[als]" in answer
