"""Files are whole or absent, whatever happens while they are written."""

import errno
import os
import stat
import threading

import numpy as np
import pytest
from helpers.processes import run_python

import hashneg as hn
from hashneg import files

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions, links and limits")


@pytest.fixture
def codes():
    return hn.Codes.from_signs(np.random.default_rng(0).standard_normal((50, 64)))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existing", [None, b"before"])
def test_a_failure_while_writing_leaves_neither_target_nor_temporary_file(tmp_path, error, existing):
    target = tmp_path / "out.npz"
    if existing is not None:
        target.write_bytes(existing)

    def write():
        with files.atomic_path(target) as temporary:
            temporary.write_bytes(b"half of it")
            raise error

    with pytest.raises(error):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ([] if existing is None else ["out.npz"])
    if existing is not None:
        assert target.read_bytes() == existing


@pytest.mark.parametrize(
    "save", [lambda codes, path: codes.save(path), lambda codes, path: hn.BinaryQuantizer(4).fit(np.eye(9)).save(path)]
)
@pytest.mark.parametrize("step", ["safetensors.numpy.save_file", "os.fsync", "os.replace"])
def test_a_full_disk_at_any_step_leaves_nothing(tmp_path, monkeypatch, codes, save, step):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left on device"):
        save(codes, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_real_write_error_is_an_oserror_that_names_the_path(tmp_path):
    """The process may not write files of more than 4 KiB, so the write stops in the middle."""
    program = f"""
import os, resource
import numpy as np, hashneg as hn
codes = hn.Codes(np.zeros((100_000, 8), np.uint8), 64)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    codes.save({str(tmp_path / "c")!r})
except OSError as error:
    print(error)
print(os.listdir({str(tmp_path)!r}))
"""
    message, listing = run_python(program).stdout.splitlines()
    assert message.startswith(f"path '{tmp_path / 'c'}' could not be written: ")
    assert listing == "[]"


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path, codes):
    target = tmp_path / "c"
    codes.save(target)
    old = target.read_bytes()
    with files.atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == target.parent
        assert target.read_bytes() == old
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_content_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append(os.fstat(handle).st_size), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("rename"), replace(a, b)))
    with files.atomic_path(tmp_path / "c") as temporary:
        temporary.write_bytes(b"12345")
    assert steps == [5, "rename"]


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_follow_the_umask_and_not_those_of_temporary_files(tmp_path, codes, mask, mode):
    before = os.umask(mask)
    try:
        codes.save(tmp_path / "c")
        hn.BinaryQuantizer(4).fit(np.eye(9)).save(tmp_path / "q")
    finally:
        os.umask(before)
    for name in ("c", "q"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@posix
def test_a_link_is_followed_and_not_replaced(tmp_path, codes):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "c")
    codes.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(hn.Codes.load(tmp_path / "far" / "c")) == 50


@posix
def test_devices_are_not_replaced_by_files(codes):
    with pytest.raises(ValueError, match="path '/dev/null' is not an ordinary file"):
        codes.save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_folders_that_do_not_exist_and_folders_as_files_are_refused(tmp_path, codes):
    with pytest.raises(IsADirectoryError, match="is a directory; name a file in it"):
        codes.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"path '.*c' lies in a folder that does not exist"):
        codes.save(tmp_path / "none" / "c")
    with pytest.raises(TypeError):
        codes.save(3)


def test_relative_paths_and_long_names_work(tmp_path, monkeypatch, codes):
    monkeypatch.chdir(tmp_path)
    codes.save("c")
    codes.save("x" * 250)
    assert len(hn.Codes.load("x" * 250)) == len(hn.Codes.load("c")) == 50


def test_several_writers_of_one_path_leave_one_whole_file(tmp_path):
    candidates = [hn.Codes(np.full((2000, 8), i, np.uint8), 64) for i in range(6)]
    threads = [threading.Thread(target=c.save, args=(tmp_path / "c",)) for c in candidates for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert len(np.unique(hn.Codes.load(tmp_path / "c").data)) == 1


def test_tensors_of_any_layout_are_written_in_order(tmp_path):
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    files.save_tensors(tmp_path / "t", "test", {"a": x[::-1, ::2], "b": np.asfortranarray(x), "empty": x[:0]}, {"n": 3})
    tensors, about = files.load_tensors(tmp_path / "t", "test")
    np.testing.assert_array_equal(tensors["a"], x[::-1, ::2])
    np.testing.assert_array_equal(tensors["b"], x)
    assert tensors["empty"].shape == (0, 4)
    assert about == {"n": 3, "kind": "test"}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    program = """
import numpy as np
from hashneg import files
files.save_tensors(PATH, "test", {"b": np.ones(3), "a": np.zeros(2)}, {"y": 1, "x": 2})
"""
    for seed in ("1", "2"):
        run_python(program.replace("PATH", repr(str(tmp_path / seed))), PYTHONHASHSEED=seed)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
