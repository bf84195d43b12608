"""A stopped job leaves no output, says how to go on, and ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from hashneg.cli.guard import Stopped
from hashneg.mining.job import MiningJob

MINE = "mine anchors.npy --corpus corpus.npy --bits 64 -k 4 --slice-rows 50"


@pytest.fixture
def stop_after(monkeypatch):
    """Raise an error instead of mining a slice, after so many slices (never after -1); returns the slices mined."""
    original = MiningJob.mine

    def install(slices, error):
        mined = []

        def mine(self, start, stop):
            if len(mined) == slices:
                raise error
            mined.append((start, stop))
            return original(self, start, stop)

        monkeypatch.setattr(MiningJob, "mine", mine)
        return mined

    return install


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (Stopped(signal.SIGTERM), 128 + signal.SIGTERM)]
)
@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_ctrl_c_then_the_same_command(suffix, error, code, files, cli, stop_after, monkeypatch):
    assert cli(f"{MINE} -o whole.{suffix}").code == 0
    before = files.names()
    stop_after(3, error)
    ran = cli(f"{MINE} -o out.{suffix}")
    assert ran.code == code
    assert "3 of 5 slices are kept in" in ran.err
    assert "run the same command again" in ran.err
    kept = files.names() - before
    assert f"out.{suffix}" not in kept
    assert all(name.startswith(f"out.{suffix}.parts") for name in kept)
    mined = stop_after(-1, None)
    ran = cli(f"{MINE} -o out.{suffix}")
    assert ran.code == 0, ran.err
    assert "3 of 5 slices were finished before" in ran.err
    assert mined[-2:] == [(150, 200), (200, 230)]
    assert (files.folder / f"out.{suffix}").read_bytes() == (files.folder / f"whole.{suffix}").read_bytes()
    assert files.names() == before | {f"out.{suffix}"}


def test_ctrl_c_before_the_first_slice_leaves_nothing(files, cli, stop_after):
    before = files.names()
    stop_after(0, KeyboardInterrupt())
    ran = cli(f"{MINE} -o out.npz")
    assert ran.code == 130
    assert "nothing was written" in ran.err
    assert files.names() == before


def test_ctrl_c_while_inputs_are_read_removes_their_copies(files, cli, monkeypatch):
    import numpy as np

    from hashneg.cli import inputs, setup

    monkeypatch.setattr(inputs, "_KEPT_IN_MEMORY", 0)
    np.savez("x.npz", a=files.anchors)
    before = files.names()
    seen = []

    def digest_of(arrays, advance):
        seen.append(files.names() - before)
        raise KeyboardInterrupt

    monkeypatch.setattr(setup.digest, "digest_of", digest_of)
    ran = cli("mine x.npz -k 2 --bits 64 -o out.npz")
    assert ran.code == 130
    assert "stopped before mining began" in ran.err
    assert len(seen[0]) == 1, "one input is too large for memory and was copied"
    assert files.names() == before


def test_parts_of_another_job_are_not_used(files, cli, stop_after):
    """Cached results of other options were reused by others."""
    stop_after(2, KeyboardInterrupt())
    assert cli(f"{MINE} -o out.npz").code == 130
    mined = stop_after(-1, None)
    ran = cli(f"{MINE} --seed 3 -o out.npz")
    assert ran.code == 0, ran.err
    assert "1 other job" in ran.err
    assert mined[0] == (0, 50)
    assert not (files.folder / "out.npz.parts").exists()
    assert cli(f"{MINE} --seed 3 -o whole.npz").code == 0
    assert (files.folder / "out.npz").read_bytes() == (files.folder / "whole.npz").read_bytes()


def test_changed_inputs_make_another_job(files, cli, stop_after):
    import numpy as np

    stop_after(2, KeyboardInterrupt())
    assert cli(f"{MINE} -o out.npz").code == 130
    files.corpus[500, 1] += 1
    time_before = os.stat("corpus.npy").st_mtime_ns
    np.save("corpus.npy", files.corpus)
    os.utime("corpus.npy", ns=(time_before, time_before))  # the contents count, whatever the clock says
    mined = stop_after(-1, None)
    assert cli(f"{MINE} -o out.npz").code == 0
    assert mined[0] == (0, 50)


def test_damaged_parts_are_mined_again(files, cli, stop_after):
    stop_after(4, KeyboardInterrupt())
    assert cli(f"{MINE} -o out.npz").code == 130
    first, second, *_ = sorted((files.folder / "out.npz.parts").glob("*/*.safetensors"))
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(b"")
    mined = stop_after(-1, None)
    ran = cli(f"{MINE} -o out.npz")
    assert ran.code == 0, ran.err
    assert mined == [(0, 50), (50, 100), (200, 230)]
    assert cli(f"{MINE} -o whole.npz").code == 0
    assert (files.folder / "out.npz").read_bytes() == (files.folder / "whole.npz").read_bytes()


def test_files_of_others_in_the_folder_stay(files, cli):
    folder = files.folder / "out.npz.parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert cli(f"{MINE} -o out.npz").code == 0
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_stopped_job_may_end_in_another_format(files, cli, stop_after):
    stop_after(2, KeyboardInterrupt())
    options = "--positives positives.npy"
    assert cli(f"{MINE} {options} -o out.jsonl").code == 130
    mined = stop_after(-1, None)
    assert cli(f"{MINE} {options} --format triplet -o out.jsonl").code == 0
    assert mined[0] == (100, 150)


CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell leaves it ignored
from hashneg.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_signal_while_mining(number, files, cli):
    command = "mine anchors.npy --corpus corpus.npy --bits 64 -k 4 --slice-rows 1 -o out.npz --threads 2"
    before = files.names()
    child = subprocess.Popen([sys.executable, "-c", CHILD, *command.split()], stderr=subprocess.PIPE, text=True)
    parts = files.folder / "out.npz.parts"
    while child.poll() is None and len(list(parts.glob("*/*.safetensors"))) < 3:
        time.sleep(0.005)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number, err
    assert "of 230 slices are kept in" in err
    assert "Traceback" not in err
    kept = files.names() - before
    assert all(name.startswith("out.npz.parts") for name in kept)
    assert not [name for name in kept if name.endswith(".tmp")]
    ran = cli(command)
    assert ran.code == 0, ran.err
    assert "slices were finished before" in ran.err
    assert cli(command.replace("out.npz", "whole.npz").replace("--slice-rows 1", "")).code == 0
    assert (files.folder / "out.npz").read_bytes() == (files.folder / "whole.npz").read_bytes()
    assert files.names() == before | {"out.npz", "whole.npz"}
