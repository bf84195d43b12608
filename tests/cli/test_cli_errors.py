"""Bad input, a full disk, a missing extra: one line that names the option, exit code 2, nothing written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import hashneg as hn
from hashneg.cli import main
from hashneg.cli.guard import explain


def refused(ran, files, before, *words):
    assert ran.code == 2, ran
    error = [line for line in ran.err.splitlines() if line.startswith("hashneg: error: ")]
    assert len(error) == 1, ran.err
    assert ran.err.splitlines()[-1] == error[0], "the error comes last, in one line"
    for word in words:
        assert word in error[0]
    assert files.names() == before


@pytest.fixture
def more(files):
    """Faulty files beside the good ones."""
    n, m = len(files.anchors), len(files.corpus)
    holes = files.corpus.copy()
    holes[41, 3] = np.nan
    np.save("nan.npy", holes)
    infinite = files.anchors.copy()
    infinite[17, 0] = np.inf
    np.save("inf.npy", infinite)
    np.save("narrow.npy", files.corpus[:, :5])
    np.save("none.npy", files.corpus[:0])
    np.save("flat.npy", files.corpus[0])
    np.save("ints.npy", np.arange(12).reshape(4, 3))
    np.save("labels.npy", np.zeros(n, np.int64))
    np.save("short.npy", np.zeros(n - 1, np.int64))
    np.save("floats.npy", np.zeros(n))
    np.save("words.npy", np.array(["a"] * n))
    np.save("far.npy", np.full((n, 2), m))
    np.save("negative.npy", np.full(n, -2))
    np.save("corpus_labels.npy", np.zeros(m, np.int64))
    np.save("mask.npy", np.ones(m - 3, bool))
    (files.folder / "fewer.txt").write_text("a\nb\n")
    (files.folder / "latin.txt").write_bytes(b"\xe9\n" * n)
    (files.folder / "broken.jsonl").write_text('{"text": "a"}\n' * (n - 1) + "{oops\n")
    (files.folder / "surrogate.jsonl").write_text('{"text": "\\ud800"}\n' * n)
    (files.folder / "folder.npz").mkdir()
    hn.BinaryQuantizer(32).fit(np.random.default_rng(0).standard_normal((50, 7))).save("other.safetensors")
    return files


CORPUS = "mine anchors.npy --corpus corpus.npy"
TEXTS = "--corpus-texts corpus.txt --texts"
BAD = {
    "--corpus nan.npy -o out.npz": ["--corpus (nan.npy)", "NaN", "row 41"],
    "--corpus narrow.npy -o out.npz": ["ANCHORS", "24 dimensions", "5"],
    "--corpus none.npy -o out.npz": ["--corpus", "no rows"],
    "--corpus flat.npy -o out.npz": ["--corpus", "(n, d)"],
    "--corpus ints.npy -o out.npz": ["--corpus", "float16"],
    "--corpus absent.npy -o out.npz": ["--corpus", "absent.npy"],
    "--corpus corpus.npy --positives floats.npy -o out.npz": ["--positives (floats.npy)", "integers"],
    "--corpus corpus.npy --positives short.npy -o out.npz": ["--positives (short.npy)", "230"],
    "--corpus corpus.npy --positives far.npy -o out.npz": ["--positives", "700", "0 to 699"],
    "--corpus corpus.npy --positives negative.npy -o out.npz": ["--positives", "-2"],
    "--corpus corpus.npy --exclude far.npy -o out.npz": ["--exclude", "700"],
    "--corpus corpus.npy --query-ids negative.npy -o out.npz": ["--query-ids", "-2"],
    "--corpus corpus.npy --labels labels.npy -o out.npz": ["--corpus-labels", "missing"],
    "--corpus corpus.npy --labels short.npy --corpus-labels corpus_labels.npy -o out.npz": ["--labels (short.npy)"],
    "--corpus corpus.npy --labels words.npy --corpus-labels corpus_labels.npy -o out.npz": ["--labels", "unique"],
    "--corpus corpus.npy --allow mask.npy -o out.npz": ["--allow (mask.npy)", "(700,)"],
    "--query-ids labels.npy -o out.npz": ["--query-ids", "corpus"],
    "--corpus-labels labels.npy -o out.npz": ["--corpus-labels", "corpus"],
    "-k 0 -o out.npz": ["-k must be at least 1"],
    "-k many -o out.npz": ["-k", "--help"],
    "--bits 0 -o out.npz": ["--bits must be at least 1"],
    "--rerank -1 -o out.npz": ["--rerank"],
    "--rotation turn -o out.npz": ["--rotation", "orthogonal"],
    "--rotation identity -o out.npz": ["--rotation='identity'", "24"],
    "--rotation itq --bits 99 -o out.npz": ["--rotation='itq'", "99"],
    "--center middle -o out.npz": ["--center", "median"],
    "--similarity angle -o out.npz": ["--similarity", "cosine"],
    "--strategy best -o out.npz": ["--strategy", "random"],
    "--strategy hcl --strategy-options {beta} -o out.npz": ["--strategy-options must be JSON"],
    "--strategy hcl --strategy-options [1] -o out.npz": ["--strategy-options must be a mapping"],
    "--strategy hcl --strategy-options {\"alpha\":1} -o out.npz": ["temperature, beta", "alpha"],
    "--strategy-options {\"beta\":1} -o out.npz": ["--strategy-options go with"],
    "--rerank rabitq:0 -o out.npz": ["--rerank's factor must be at least 1"],
    "--rerank best -o out.npz": ["--rerank must be an integer"],
    "--rerank rabitq --rotation itq --bits 16 -o out.npz": ["--rerank='rabitq'", "itq"],
    "--probe 2 -o out.npz": ["--probe must be at most 1"],
    "--backend abacus -o out.npz": ["--backend", "reference"],
    "--threads 0 -o out.npz": ["--threads must be at least 1"],
    "--seed -1 -o out.npz": ["--seed"],
    "--range-min 3 --range-max 5 -o out.npz": ["--range-max", "--range-min", "-k 16"],
    "--min-score 0.9 --max-score 0.1 -o out.npz": ["--min-score", "--max-score"],
    "--relative-margin 0.1 -o out.npz": ["--relative-margin", "positives"],
    "--quantizer other.safetensors -o out.npz": ["--quantizer", "7 dimensions"],
    "--quantizer corpus.npy -o out.npz": ["--quantizer", "corpus.npy"],
    "--quantizer absent -o out.npz": ["--quantizer", "absent"],
    "--quantizer other.safetensors --bits 8 -o out.npz": ["--bits", "--quantizer"],
    "--rows 5 -o out.npz": ["--rows", "A:B"],
    "--rows 9:3 -o out.npz": ["--rows 9:3"],
    "--rows 0:231 -o out.npz": ["--rows 0:231", "230"],
    "--slice-rows 0 -o out.npz": ["--slice-rows"],
    "--format triplet -o out.npz": ["--format", ".jsonl"],
    "--format triplet -o out.jsonl": ["--format triplet", "--positives"],
    "--format pairs -o out.jsonl": ["--format", "labeled-pair"],
    "--texts anchors.txt -o out.npz": ["--texts", ".parquet"],
    "--corpus corpus.npy --texts anchors.txt -o out.jsonl": ["--corpus-texts is missing"],
    "--corpus-texts corpus.txt -o out.jsonl": ["--corpus-texts", "--corpus"],
    f"--corpus corpus.npy {TEXTS} fewer.txt -o out.jsonl": ["--texts", "2 texts", "230 anchors"],
    f"--corpus corpus.npy {TEXTS} latin.txt -o out.jsonl": ["--texts", "latin.txt, line 1,", "UTF-8"],
    f"--corpus corpus.npy {TEXTS} broken.jsonl -o out.jsonl": ["--texts", "line 230", "JSON"],
    f"--corpus corpus.npy {TEXTS} surrogate.jsonl -o out.jsonl": ["--texts", "line 1,", "surrogate"],
    f"--corpus corpus.npy {TEXTS} anchors.npy -o out.jsonl": ["--texts", ".txt"],
    "-o out.csv": ["--output", ".jsonl"],
    "-o nowhere/out.npz": ["--output", "nowhere"],
    "-o folder.npz": ["--output", "folder"],
    "--report nowhere/r.json -o out.npz": ["--report"],
    "--fromat triplet -o out.jsonl": ["--fromat"],
    "": ["--output"],
}  # fmt: skip


@pytest.mark.parametrize("options", BAD)
def test_bad_input(options, more, cli):
    before = more.names()
    refused(cli(f"mine anchors.npy {options}"), more, before, *BAD[options])


def test_infinite_anchors(more, cli):
    before = more.names()
    refused(cli("mine inf.npy --corpus corpus.npy -o out.npz"), more, before, "ANCHORS (inf.npy)", "row 17")


def test_an_input_is_never_the_output(more, cli):
    np.savez("x.npz", a=more.anchors)
    before = more.names()
    refused(cli("mine x.npz:a -o x.npz"), more, before, "--output", "one of the inputs")


def test_a_missing_backend(more, cli, monkeypatch):
    from hashneg import backends

    monkeypatch.setattr(backends, "_why_missing", lambda name: "needs magic" if name == "cpu" else "")
    before = more.names()
    refused(cli("mine anchors.npy --backend cpu -o out.npz"), more, before, "cpu", "needs magic")


def test_constant_bits_are_warned_of_in_one_line(files, cli):
    np.save("constant.npy", np.abs(files.anchors) + np.float16(1))
    ran = cli("mine constant.npy --center none --rotation identity --bits 24 -k 2 -o out.npz")
    assert ran.code == 0
    assert "hashneg: warning: 24 of 24 bits are constant" in ran.err


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_full_disk(suffix, call, files, cli, monkeypatch):
    """The disk fills up while a slice or the output is written."""
    calls = []

    def fsync(number):
        calls.append(number)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = cli(f"mine anchors.npy --bits 64 -k 3 -o whole.{suffix}")
    assert whole.code == 0
    before = files.names()
    monkeypatch.setattr(os, "fsync", fsync)
    ran = cli(f"mine anchors.npy --bits 64 -k 3 -o out.{suffix}")
    assert ran.code == 2
    assert "the disk is full" in ran.err.splitlines()[-1]
    kept = files.names() - before
    assert f"out.{suffix}" not in kept
    assert not [name for name in kept if name.endswith(".tmp")]
    assert bool(kept) == (call == 2), "a finished slice is kept, and no empty folder"
    ran = cli(f"mine anchors.npy --bits 64 -k 3 -o out.{suffix}")
    assert ran.code == 0
    assert (files.folder / f"out.{suffix}").read_bytes() == (files.folder / f"whole.{suffix}").read_bytes()
    assert files.names() == before | {f"out.{suffix}"}


LIMITED = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from hashneg.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="sets a POSIX limit")
@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "jsonl"])
def test_a_write_that_the_system_refuses(suffix, files, cli):
    """A limit on the size of files fails for real, in the middle of the output."""
    command = f"mine anchors.npy --bits 64 -k 60 --slice-rows 20 --rerank 1 -o out.{suffix}"
    before = files.names()
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, *command.split()], capture_output=True, text=True, env=environment, check=False
    )
    assert child.returncode == 2, child.stderr
    assert "size limit" in child.stderr.splitlines()[-1]
    kept = files.names() - before
    assert f"out.{suffix}" not in kept
    assert not [name for name in kept if name.endswith(".tmp")]
    assert len([name for name in kept if name.endswith(".safetensors")]) >= 12, "finished slices are kept"
    assert cli(command).code == 0
    assert files.names() == before | {f"out.{suffix}"}


def test_merge_on_a_full_disk(files, cli, monkeypatch):
    for rows in ("0:90", "90:230"):
        assert cli(f"mine anchors.npy --bits 64 -k 3 --rows {rows} -o part-{rows[0]}.npz").code == 0
    before = files.names()

    def fsync(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    refused(cli("merge part-0.npz part-9.npz -o out.npz"), files, before, "the disk is full")


def test_a_fault_of_the_program_is_no_bad_input():
    assert explain(KeyError("x")) is None
    assert "--slice-rows" in explain(MemoryError())


def test_missing_extra_prints_the_line_that_installs_it(monkeypatch, capsys):
    import hashneg.cli

    monkeypatch.setattr(hashneg.cli, "find_spec", lambda name: None if name == "typer" else object())
    assert main(["info"]) == 2
    err = capsys.readouterr().err
    assert "typer" in err
    assert 'pip install "hashneg[cli]"' in err
    assert "pyarrow" not in err


def test_importing_the_package_of_commands_loads_no_extra():
    code = "import sys, json, hashneg.cli; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert "hashneg" in loaded
    assert not {"typer", "rich", "pyarrow", "click", "numba"} & set(loaded)


def test_help_names_every_command_and_loads_nothing_heavy(cli):
    ran = cli("--help")
    assert ran.code == 0
    for command in ("mine", "merge", "info", "demo"):
        assert command in ran.out
    code = "import sys; from hashneg.cli import main; main(['--help']); print('LOADED', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    loaded = {name.partition(".")[0] for name in out.split("LOADED")[1].split()}
    assert not {"pyarrow", "numba", "sklearn", "matplotlib", "scipy"} & loaded


def test_unknown_command(cli):
    ran = cli("dig")
    assert ran.code == 2
    assert ran.err.startswith("hashneg: error: ")
    assert "dig" in ran.err


def test_info(cli, monkeypatch):
    from hashneg import backends

    monkeypatch.setattr(backends, "_why_missing", lambda name: "needs magic" if name == "cpu" else "")
    monkeypatch.setenv("HASHNEG_NUM_THREADS", "3")
    monkeypatch.setenv("HASHNEG_BACKEND", "reference")
    ran = cli("info")
    assert ran.code == 0, ran.err
    rows = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in ran.out.splitlines() if "  " in line}
    assert hn.__version__ in rows["hashneg"]
    assert rows["numpy"] == np.__version__
    assert rows["backend cpu"] == "missing: needs magic"
    assert rows["backend reference"] == "available"
    assert rows["backend in use"].startswith("reference")
    assert rows["threads"].startswith("3 of")
    assert rows["compiled code"]
