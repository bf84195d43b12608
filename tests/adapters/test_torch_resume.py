"""A training run that is killed in the middle of an epoch goes on from its last checkpoint as if nothing had been."""

from __future__ import annotations

from helpers.processes import run_python
from helpers.requirements import need

PROGRAM = """
import os, signal, sys, tempfile
import numpy as np, torch, hashneg as hn
from hashneg.adapters.torch import load, save

N, BATCH = 240, 12

def train(checkpoint, mode, kill_at, log):
    torch.manual_seed(0)
    data = torch.randn(N, 10, generator=torch.Generator().manual_seed(1))
    model = torch.nn.Sequential(torch.nn.Linear(10, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    quantizer = hn.BinaryQuantizer(64).fit(model(data)) if mode == "live" else 64
    table = hn.CodeTable(N, quantizer, mode=mode, labels=np.arange(N) // 2)
    sampler = hn.HardBatchSampler(np.full((N, 1), -1), BATCH, labels=np.arange(N) // 2)
    epoch, step, refreshed = 0, 0, 0
    if os.path.exists(checkpoint):
        state = load(checkpoint)
        model.load_state_dict(state["model"]), optimizer.load_state_dict(state["optimizer"])
        table.load_state_dict(state["table"]), sampler.load_state_dict(state["sampler"])
        epoch, step = state["loop"]["epoch"], state["loop"]["step"]
    while epoch < 3:
        sampler.set_epoch(epoch)
        for ids in sampler:
            z = torch.nn.functional.normalize(model(data[ids]), dim=1)
            noisy = torch.nn.functional.normalize(model(data[ids] + 0.1), dim=1)
            loss = torch.nn.functional.cross_entropy(z @ noisy.T / 0.1, torch.arange(len(ids)))
            optimizer.zero_grad(), loss.backward(), optimizer.step()
            table.update(ids, z)
            step += 1
            if mode == "live" and step % 4 == 0 and table.refresh_due(ids, model(data[ids]), max_angle=0.01):
                refreshed += len(table.refresh(lambda rows: model(data[rows]), chunks=5))
            print(step, ids.tolist(), loss.item().hex(), table.version, file=log, flush=True)
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if step % 7 == 0:
                save(checkpoint, model=model.state_dict(), optimizer=optimizer.state_dict(), table=table.state_dict(),
                     sampler=sampler.state_dict(), loop={"epoch": epoch, "step": step})
        if mode == "epoch":
            table.refresh()
        sampler.neighbours = table.mine(range(N), 20)
        epoch += 1
    assert refreshed or mode == "epoch"

def run(checkpoint, mode, kill_at):
    with tempfile.NamedTemporaryFile("w+") as log:
        child = os.fork()  # a process of its own, without importing everything again
        if child == 0:
            try:
                train(checkpoint, mode, kill_at, log)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.seek(0)
        return code, log.read().splitlines()

torch.set_num_threads(1)
warm = hn.CodeTable(9, 64, labels=np.arange(9))  # children inherit the kernels that are loaded
warm.refresh(torch.eye(9))
len(hn.HardBatchSampler(warm.mine(range(9), 2), 3, labels=np.arange(9)))
for mode in ("live", "epoch"):
    with tempfile.TemporaryDirectory() as folder:
        code, whole = run(f"{folder}/whole.pt", mode, 0)
        assert code == 0 and len(whole) > 55, (mode, code, len(whole))
        code, first = run(f"{folder}/killed.pt", mode, 31)  # in the second epoch; the last checkpoint is of step 28
        assert code == -signal.SIGKILL and first == whole[:31], mode
        code, rest = run(f"{folder}/killed.pt", mode, 0)
        assert code == 0 and rest == whole[28:], mode
print("identical")
"""


def test_a_killed_run_resumes_bit_for_bit():
    need("torch")
    done = run_python(PROGRAM, timeout=400, OMP_NUM_THREADS="1", HASHNEG_NUM_THREADS="1")
    assert done.stdout == "identical\n"
