"""Stages: what they record, and what they show."""

import time

import numba
import numpy as np
import pytest

from tonearm.terminal.stages import Stages


def test_stages_are_timed_in_order() -> None:
    stages = Stages(show=False)
    with stages.stage("first"):
        time.sleep(0.02)
    with stages.stage("second"):
        pass
    assert [row["name"] for row in stages.rows] == ["first", "second"]
    assert 0.02 <= stages.rows[0]["seconds"] < 60
    assert stages.rows[1]["seconds"] >= 0


def test_peak_memory_is_that_of_the_stage() -> None:
    stages = Stages(show=False)
    with stages.stage("large"):
        block = np.ones(40_000_000, np.float64)
        del block
    with stages.stage("small"):
        pass
    large, small = (row["peak_mb"] for row in stages.rows)
    assert small > 10
    assert large > 300
    # where the system cannot start a new peak, a stage's peak is that of the run so far
    assert small <= large


def test_a_stage_that_fails_is_not_recorded() -> None:
    stages = Stages(show=False)
    with pytest.raises(ZeroDivisionError), stages.stage("bad"):
        raise ZeroDivisionError
    assert stages.rows == []
    with stages.stage("good"):
        stages.progress("units", 1, 2)
    assert [row["name"] for row in stages.rows] == ["good"]


def test_progress_without_a_stage_or_a_total_does_nothing_bad() -> None:
    stages = Stages(show=False)
    stages.progress("nobody asks", 1, 2)
    with stages.stage("unknown length"):
        stages.progress("units", 0, 0)
        stages.progress("units", 5, 0)
    assert len(stages.rows) == 1


def test_shown_stages_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(show=True)
    with stages.stage("fit something"):
        for done in range(4):
            stages.progress("units", done, 3)
    found = capsys.readouterr()
    assert found.out == ""
    assert "fit something" in found.err
    assert " s " in found.err
    assert found.err.rstrip().endswith("MB")


def test_point_19_no_blank_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Point 19: each stage left a blank line in a file or pipe."""
    stages = Stages(show=True)
    with stages.stage("load"):
        stages.say("Read [shape] 3 events.")
        stages.progress("units", 1, 3)
    with stages.stage("ranker"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Read [shape] 3 events.", "what was read comes first, and no markup is taken"
    assert [line.split()[0] for line in lines] == ["Read", "load", "ranker"]


def test_point_19_compiling_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Point 19: the first run was slow and did not say why."""

    def kernel(x: int) -> int:
        return x + 1

    def other(x: int) -> int:
        return x + 2

    for function in (kernel, other):
        function.__module__ = "tonearm.kernels.made_up"
    stages = Stages(show=True)
    with stages.stage("first"):
        for function in (kernel, other):
            numba.njit("int64(int64)")(function)
    with stages.stage("second"):
        numba.njit("float64(float64)")(kernel)
    assert capsys.readouterr().err.count("Compiling more kernels, once") == 1


def test_hidden_stages_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(show=False)
    with stages.stage("fit something"):
        stages.progress("units", 1, 3)
    assert capsys.readouterr() == ("", "")
