import pytest

from plurality.encoders import progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_nothing_is_written_unasked_or_by_a_short_job(capsys, clock):
    for shown in (False, True):
        with progress.meter("embedding", 10, 100, shown) as advance:
            advance(10, 100)
    with progress.spinner("fitting", True):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_log_file_gets_a_line_every_half_minute(capsys, clock):
    with progress.meter("embedding", 100, 1000, True) as advance:
        for _ in range(4):
            clock.now += 16
            advance(10, 200)
    # at 32 s: 20 texts of 100, 400 of 1000 characters done, so 32 · 600/400 = 48 s left; at 64 s: 16 s
    assert capsys.readouterr().err.splitlines() == [
        "embedding: 20/100 texts, 0.6/s, 48 s left",
        "embedding: 40/100 texts, 0.6/s, 16 s left",
    ]


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with progress.meter("embedding", 10, 100, True) as advance:
        advance(10, 100)
    with progress.spinner("fitting", True):
        pass
    written = capsys.readouterr().err
    assert "embedding" in written
    assert "10/10 texts" in written


def test_a_log_file_says_how_long_a_long_wait_was(capsys, clock):
    with progress.spinner("fitting", True):
        clock.now += 7
    assert capsys.readouterr().err == "fitting: done, 7 s\n"
