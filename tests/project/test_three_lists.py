"""Point 1: the table of three lists, made from the metrics of finished runs."""

import json
from pathlib import Path

import pytest

import three_lists


def test_a_row_for_each_list_of_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, start in (("a", 0.1), ("b", 0.5)):
        (tmp_path / run).mkdir()
        lists = {
            name: {metric: start + 0.01 * i + 0.001 * n for i, metric in enumerate(three_lists.METRICS)}
            for n, name in enumerate(("top_popular", "personal_als", "ease", "recommendations"))
        }
        if start == 0.1:
            lists["recommendations"] = {k: v for k, v in lists["recommendations"].items() if k.endswith("@5")}
        (tmp_path / run / "metrics.json").write_text(json.dumps({"lists": lists}))
    monkeypatch.setattr("sys.argv", ["three_lists.py", f"one={tmp_path}/a", f"k = 5, two={tmp_path}/b"])
    three_lists.main()
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == (
        "| run | list | precision@5 | recall@5 | coverage@5 | novelty@5 "
        "| precision@20 | recall@20 | coverage@20 | novelty@20 |"
    )
    assert lines == [
        "| one | popular | .1000 | .1100 | .1200 | .1300 | .1400 | .1500 | .1600 | .1700 |",
        "| one | ALS | .1010 | .1110 | .1210 | .1310 | .1410 | .1510 | .1610 | .1710 |",
        "| one | final | .1030 | .1130 | .1230 | .1330 |  |  |  |  |",
        "| k = 5, two | popular | .5000 | .5100 | .5200 | .5300 | .5400 | .5500 | .5600 | .5700 |",
        "| k = 5, two | ALS | .5010 | .5110 | .5210 | .5310 | .5410 | .5510 | .5610 | .5710 |",
        "| k = 5, two | final | .5030 | .5130 | .5230 | .5330 | .5430 | .5530 | .5630 | .5730 |",
    ]
