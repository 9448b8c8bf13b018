"""A log file gets a line a stage with the elapsed time, a terminal a bar, short work nothing."""

import pytest

from plurality.io import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_stage(capsys, clock):
    with progress.stages("compare", 3, show=True) as bar:
        for stage, seconds in (("quick", 1), ("pal", 11), ("vpl", 30)):
            bar(stage)
            clock[0] += seconds
    assert capsys.readouterr().err.splitlines() == ["compare: pal, 2/3 done, 12 s", "compare: vpl, 3/3 done, 42 s"]


def test_a_stage_that_fails_is_not_said_to_be_done(capsys, clock):
    def fails():
        with progress.stages("fit", 2, show=True) as bar:
            bar("first")
            clock[0] += 9
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert capsys.readouterr().err == ""


def test_nothing_is_written_unasked(capsys, clock):
    with progress.stages("fit", 1, show=False) as bar:
        bar("first")
        clock[0] += 9
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with progress.stages("fit", 2, show=True) as bar:
        bar("first")
    assert "fit: first" in capsys.readouterr().err
