"""Progress and tables, on a terminal and elsewhere."""

from __future__ import annotations

import sys
import time

import pytest

from hashneg.cli.console import Console, duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_lines_tell_the_time_left_from_this_run_s_speed(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Console().progress("mining", 1000, "anchor", done=500) as update:
        now[0] += 5
        update(550, 1000)  # too soon for another line
        now[0] += 15
        update(600, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "hashneg: mining 1,000 anchors, 500 of them done before",
        "hashneg: mining 600 of 1,000 anchors, 60 %, 1 min 20 s left",  # 100 took 20 s, 400 are left
    ]


def test_bars_and_tables_on_a_terminal(files, cli, monkeypatch):
    for name, value in (("TERM", "xterm"), ("COLUMNS", "160")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ran = cli("mine anchors.npy --bits 64 -k 2 --slice-rows 40 -o out.npz")
    assert ran.code == 0, ran.err
    assert "230 of 230 anchors" in ran.err
    assert "time left" in ran.err
    assert "│ anchors short of k" in ran.out


def test_messages_are_not_read_as_markup(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    console = Console()
    with console.progress("mining", 10, "anchor") as update:
        update(10, 10)
        console.say("a file named [bold]x.npy")
    assert "[bold]x.npy" in capsys.readouterr().err
