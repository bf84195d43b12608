"""The training loop in PyTorch: loaders, checkpoints, hooks of trainers, metric learning."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.requirements import need

import hashneg as hn

torch = need("torch")

from hashneg.adapters.torch import (  # noqa: E402
    BatchSampler,
    HammingKNN,
    HammingMiner,
    MiningLoop,
    hugging_face_callback,
    lightning_callback,
    load,
    save,
)

N = 96
RNG = np.random.default_rng(0)
NEIGHBOURS = RNG.integers(0, N, (N, 12))
X = RNG.standard_normal((N, 16)).astype(np.float32)


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> tuple[int, np.ndarray]:
        return row, X[row]


def test_a_loader_with_persistent_workers_sees_new_epochs_and_new_neighbours():
    sampler = hn.HardBatchSampler(NEIGHBOURS, 12)
    batches = BatchSampler(sampler)
    loader = torch.utils.data.DataLoader(
        Rows(), batch_sampler=batches, num_workers=2, persistent_workers=True, multiprocessing_context="fork"
    )
    seen = []
    for epoch in range(4):
        batches.set_epoch(epoch)
        if epoch == 2:
            sampler.neighbours = NEIGHBOURS[::-1].copy()
        seen.append([ids.tolist() for ids, _ in loader])
        assert seen[-1] == sampler.batches.tolist()
        assert len(loader) == len(seen[-1])
    assert len({str(epoch) for epoch in seen}) == 4


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_every_batch_or_take_turns(world_size):
    wanted = hn.HardBatchSampler(NEIGHBOURS, 12, seed=3).batches
    ranks = [
        {
            split: BatchSampler(
                hn.HardBatchSampler(NEIGHBOURS, 12, seed=3), rank=rank, world_size=world_size, split=split
            )
            for split in ("within", "across")
        }
        for rank in range(world_size)
    ]
    parts = [np.array(list(rank["within"])) for rank in ranks]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), wanted)
    rounds = len(wanted) // world_size
    for number, rank in enumerate(ranks):
        across = rank["across"]
        np.testing.assert_array_equal(list(across), wanted[: rounds * world_size][number::world_size])
        assert len(across) == rounds
        assert (across.batch_size, rank["within"].batch_size) == (12, 12 // world_size)


def test_a_loader_resumes_by_the_batches_of_its_rank():
    for split in ("within", "across"):
        batches = BatchSampler(hn.HardBatchSampler(NEIGHBOURS, 12), rank=1, world_size=2, split=split)
        whole = list(batches)
        other = BatchSampler(hn.HardBatchSampler(NEIGHBOURS, 12), rank=1, world_size=2, split=split)
        other.load_state_dict(batches.state_dict(position=3))
        assert list(other) == whole[3:]


def test_wrong_ranks_are_refused():
    sampler = hn.HardBatchSampler(NEIGHBOURS, 12)
    for change, error, words in [
        ({"world_size": 5}, ValueError, "divisible"),
        ({"rank": 2, "world_size": 2}, ValueError, "rank must be below"),
        ({"split": "half"}, ValueError, "split"),
    ]:
        with pytest.raises(error, match=words):
            BatchSampler(sampler, **change)
    with pytest.raises(TypeError, match="HardBatchSampler"):
        BatchSampler([1, 2])


@pytest.mark.parametrize("mode", ["live", "epoch"])
def test_states_survive_a_file_that_is_read_without_unpickling_code(tmp_path, mode):
    table = hn.CodeTable(N, 40, mode=mode, labels=np.arange(N) // 2)
    table.refresh(X) if mode == "live" else table.update(range(N), X)
    sampler = hn.HardBatchSampler(NEIGHBOURS, 12)
    next(iter(sampler))
    model = torch.nn.Linear(3, 2)
    path = tmp_path / "step.pt"
    save(path, table=table.state_dict(), sampler=sampler.state_dict(), model=model.state_dict())
    state = load(path)
    other = hn.CodeTable(N, 40, mode=mode)
    other.load_state_dict(state["table"])
    resumed = hn.HardBatchSampler(NEIGHBOURS * 0, 12)
    resumed.load_state_dict(state["sampler"])
    torch.nn.Linear(3, 2).load_state_dict(state["model"])
    np.testing.assert_array_equal(list(resumed), sampler.batches[1:])
    if mode == "epoch":
        table.refresh(), other.refresh()
    np.testing.assert_array_equal(other.mine(range(N), 5).indices, table.mine(range(N), 5).indices)
    assert other.quantizer.fingerprint == table.quantizer.fingerprint


def train(loop: MiningLoop, start: list, end: list, epochs: range) -> list:
    """Epochs of a trainer that calls hooks `start` and `end`; returns the batches."""
    seen = []
    for epoch in epochs:
        for hook in start:
            hook(epoch)
        for ids in loop.sampler:
            loop.table.update(ids, X[ids] * (1 + epoch))
            seen.append(ids.tolist())
        for hook in end:
            hook(epoch)
    return seen


def new_loop(mode: str) -> MiningLoop:
    quantizer = hn.BinaryQuantizer(64).fit(X) if mode == "live" else 64
    table = hn.CodeTable(N, quantizer, mode=mode)
    return MiningLoop(table, hn.HardBatchSampler(np.full((N, 1), -1), 12), k=10)


@pytest.mark.parametrize("mode", ["live", "epoch"])
def test_hugging_face_hooks_mine_and_resume(tmp_path, mode):
    args = SimpleNamespace(output_dir=str(tmp_path))

    def hooks(loop, steps):
        callback = hugging_face_callback(loop)
        state = SimpleNamespace(global_step=steps, epoch=None, is_world_process_zero=True)
        callback.on_train_begin(args, state, None, model=None)

        def start(epoch):
            state.epoch = float(epoch)
            callback.on_epoch_begin(args, state, None)

        def end(epoch):
            state.global_step += 8
            callback.on_epoch_end(args, state, None)
            (tmp_path / f"checkpoint-{state.global_step}").mkdir(exist_ok=True)
            callback.on_save(args, state, None)

        return [start], [end]

    loop = new_loop(mode)
    whole = train(loop, *hooks(loop, 0), range(4))
    assert (loop.sampler.neighbours >= 0).all()
    resumed = new_loop(mode)
    assert train(resumed, *hooks(resumed, 16), range(2, 4)) == whole[16:]


def test_hugging_face_ranks_other_than_zero_save_nothing(tmp_path):
    callback = hugging_face_callback(new_loop("live"))
    state = SimpleNamespace(global_step=5, epoch=1.0, is_world_process_zero=False)
    callback.on_save(SimpleNamespace(output_dir=str(tmp_path)), state, None)
    assert not list(tmp_path.iterdir())


def test_lightning_hooks_mine_and_carry_their_state(tmp_path):
    loop = new_loop("live")
    callback = lightning_callback(loop)
    hooks = (
        [lambda epoch: callback.on_train_epoch_start(SimpleNamespace(current_epoch=epoch), None)],
        [lambda epoch: callback.on_train_epoch_end(SimpleNamespace(current_epoch=epoch), None)],
    )
    train(loop, *hooks, range(2))
    torch.save(callback.state_dict(), tmp_path / "state.pt")
    other = new_loop("live")
    lightning_callback(other).load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(other.table.codes().data, loop.table.codes().data)
    np.testing.assert_array_equal(other.sampler.batches, loop.sampler.batches)
    with pytest.raises(ValueError, match="96 rows"):
        MiningLoop(loop.table, hn.HardBatchSampler(NEIGHBOURS[:5] % 5, 2))


def test_the_miner_gives_positive_pairs_and_the_nearest_of_other_labels():
    x, labels = torch.from_numpy(X), torch.from_numpy(RNG.integers(0, 9, N))
    miner = HammingMiner(512, k=5)
    a1, p, a2, n = miner(x.clone().requires_grad_(), labels)
    pairs = {(i, j) for i in range(N) for j in range(N) if i != j and labels[i] == labels[j]}
    assert set(zip(a1.tolist(), p.tolist(), strict=True)) == pairs
    rows = torch.nn.functional.normalize(x, dim=1)
    codes = miner.quantizer.encode(rows)
    found = hn.hamming_topk(codes, codes, 5, query_labels=labels, database_labels=labels).indices
    assert torch.equal(n.view(N, 5), found)
    assert torch.equal(a2, torch.arange(N).repeat_interleave(5))


def test_the_miner_searches_references_and_never_pads():
    x = torch.from_numpy(X)
    labels, ref_labels = torch.arange(4), torch.tensor([0, 0, 1])
    a1, p, a2, n = HammingMiner(64, k=8)(x[:4], labels, x[4:7], ref_labels)
    assert list(zip(a1.tolist(), p.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 2)]
    assert sorted(zip(a2.tolist(), n.tolist(), strict=True)) == [
        (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="go together"):
        HammingMiner(64)(x[:4], labels, x[4:7])


def test_the_knn_function_is_exact_where_it_reranks_all():
    x, y = torch.from_numpy(X), torch.from_numpy(X + 1)
    distances, indices = HammingKNN(64, rerank=N)(x, 4, y, False)
    wanted = hn.exact_topk(x, y, 4)
    assert torch.equal(indices, wanted.indices)
    torch.testing.assert_close(distances, 1 - wanted.scores)


def test_the_knn_function_leaves_out_the_query_by_its_row():
    """Dropping the first column instead would drop the duplicate of a row, and keep the row itself."""
    x = torch.from_numpy(np.repeat(X[:20], 2, axis=0))
    for positional in (True, False):
        knn = HammingKNN(64)
        _, indices = knn(x, 1, x, True) if positional else knn(x, 1, embeddings_come_from_same_source=True)
        assert torch.equal(indices[:, 0], torch.arange(40) ^ 1)
    with pytest.raises(ValueError, match="more than the 39"):
        HammingKNN(64)(x, 40, x, True)


def test_a_state_of_another_sampler_changes_neither_table_nor_sampler():
    loop = new_loop("live")
    train(loop, [], [], range(1))
    state = loop.state_dict()
    train(loop, [], [], range(1, 2))
    version, neighbours = loop.table.version, loop.sampler.neighbours
    state["sampler"]["batch_size"] = 7
    with pytest.raises(ValueError, match="batch_size=7"):
        loop.load_state_dict(state)
    assert loop.table.version == version
    assert loop.sampler.neighbours is neighbours
