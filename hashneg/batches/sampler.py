"""HardBatchSampler: batches of ids that are each other's hard negatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hashneg import arrays, checks
from hashneg.backends import choose_backend, implementation
from hashneg.backends.request import NO_INDEX, Composition
from hashneg.batches.preference import Preference
from hashneg.hamming import exclusions
from hashneg.mining.scoring import cosine_of_distance
from hashneg.randomness import mix64
from hashneg.table import positives as pairing
from hashneg.table.state import array, entry


class HardBatchSampler:
    """Batches of ids composed of anchors and their neighbours.

    Anchors come in random order. A batch takes an anchor and then its neighbours, the hardest first (or in the order of
    `strategy`), as long as they are unused in this epoch and fit the batch; when they run out it takes the next anchor,
    and so on until it is full.

    Parameters
    ----------
    neighbours : array, int (n, k), or a result with such `indices`
        The neighbours of id i, hardest first, padded with -1; read, not copied. `CodeTable.mine`, `hamming_topk` and
        `mine_hard_negatives` return such.
    batch_size : int
        Ids of a batch. All batches are full.
    labels : array, int (n,), optional
        No two ids of a batch have the same label.
    positives : array, int (n, m) or (n,), optional
        Positives of id i, padded with -1, the hardest first. No two ids of a batch are positives of each other.
    hardness : float
        From 0 (random batches) to 1: the share of the places behind the first that may go to neighbours; the others
        go to random ids.
    seed : int
    strategy : {"top", "random", "unremix", "hcl", "soft_info_nce"}
        In which order an anchor's neighbours are taken: the hardest first; drawn anew for each epoch; or so drawn in
        proportion to the weight that `hashneg.weights` gives their scores. "unremix" is a reconstruction of the
        paper's weight, see `hashneg.weights.unremix`.
    strategy_options : mapping, optional
        Of the weight, as in `mine_hard_negatives`; ``uncertainty`` and ``representativeness`` are one float for each
        id.
    scores : array, float (n, k), optional
        Similarities of the neighbours, for the strategies with a weight; taken from `neighbours` where this is what
        `mine_hard_negatives` returned.

    Attributes
    ----------
    n, batch_size, seed, epoch : int
    strategy : str
    hardness : float
        May be set, like `neighbours`; the batches are then composed anew.
    neighbours : int64 (n, k)
    batches : int64 (batches, batch_size)
        All batches of this epoch.
    anchors : int64 (batches, batch_size)
        For each of these ids the anchor among whose neighbours it is; anchors and random ids stand for themselves.
    dropped : int64 array
        Ids that are in no batch of this epoch, in order: the rest that fills no batch.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or an id is out of range.

    See Also
    --------
    CodeTable : whose `mine` finds the neighbours while a model is trained.

    Notes
    -----
    Iterating gives the same batches again until `set_epoch` is called with another number: they depend on the
    arguments, the seed and the epoch alone, on every machine. No id occurs twice in an epoch.

    Towards the end of an epoch most neighbours are used up, and batches hold more anchors. An id that does not fit the
    batch at hand (its label is taken) waits for the next one.

    References
    ----------
    Batches of an anchor and its neighbours: Sample4Geo (arXiv 2303.11851), LSH hard negatives (arXiv 2505.17844). The
    latter makes labels unique in a batch and takes the farthest image of a class as its positive.

    Examples
    --------
    >>> import numpy as np, hashneg as hn
    >>> codes = hn.Codes.from_signs(np.random.default_rng(0).standard_normal((1000, 64)))
    >>> neighbours = hn.hamming_topk(codes, codes, 32, query_ids=range(1000))
    >>> sampler = hn.HardBatchSampler(neighbours, 16)
    >>> for epoch in range(2):
    ...     sampler.set_epoch(epoch)
    ...     for ids in sampler:  # int64 (16,)
    ...         pass
    >>> len(sampler), len(sampler.dropped)
    (62, 8)
    """

    def __init__(
        self,
        neighbours: Any,
        batch_size: int,
        *,
        labels: Any = None,
        positives: Any = None,
        hardness: float = 1.0,
        seed: int = 0,
        strategy: str = "top",
        strategy_options: Mapping[str, Any] | None = None,
        scores: Any = None,
    ) -> None:
        self._neighbours = _rows_of_ids(neighbours, "neighbours", None)
        self.n = len(self._neighbours)
        self._preference = Preference(strategy, strategy_options, self.n)
        self._scores = self._preference.scores(_scores_of(neighbours, scores), self._neighbours)
        self.batch_size = checks.integer(batch_size, "batch_size", minimum=1)
        self._labels: np.ndarray | None = None
        if labels is not None:
            given = arrays.integers(labels, "labels", (self.n,))
            self._labels = np.unique(given, return_inverse=True)[1]
        self._positives = None if positives is None else _rows_of_ids(positives, "positives", self.n)
        self._hardness = checks.real(hardness, "hardness", minimum=0.0, maximum=1.0)
        self.seed = checks.integer(seed, "seed", minimum=0)
        self.epoch = 0
        self._same_label: pairing.SameLabel | None = None
        self._composed: tuple[np.ndarray, np.ndarray] | None = None  # when first asked for
        self._position = 0  # batches handed out by the newest iteration
        self._resume_at = 0  # where the next iteration starts

    @property
    def neighbours(self) -> np.ndarray:
        return self._neighbours

    @neighbours.setter
    def neighbours(self, neighbours: Any) -> None:
        self._take(neighbours, None)

    @property
    def strategy(self) -> str:
        return self._preference.strategy

    @property
    def hardness(self) -> float:
        return self._hardness

    @hardness.setter
    def hardness(self, hardness: float) -> None:
        self._hardness = checks.real(hardness, "hardness", minimum=0.0, maximum=1.0)
        self._replan()

    def renew(self, table: Any, k: int) -> None:
        """Mine the k neighbours of all ids from a table, and compose batches of them from now on.

        Parameters
        ----------
        table : CodeTable
            Of n rows; or another object with its `mine` and `n_bits`. Scores are cos(pi H / n_bits).
        k : int
        """
        if not (hasattr(table, "mine") and hasattr(table, "n_bits")):
            raise TypeError(f"table must be a CodeTable, got {arrays.describe(table)}")
        if (rows := getattr(table, "n", self.n)) != self.n:
            raise ValueError(f"table has {rows} rows, but the sampler has {self.n} ids")
        found = table.mine(np.arange(self.n), k)
        scores = None
        if self._preference.needs_scores:
            scores = cosine_of_distance(arrays.to_numpy(found.distances, "distances"), table.n_bits)
        self._take(found, scores)

    def set_epoch(self, epoch: int) -> None:
        """Compose the batches of this epoch from now on; nothing changes if it is the current one."""
        epoch = checks.integer(epoch, "epoch", minimum=0)
        if epoch != self.epoch:
            self.epoch = epoch
            self._replan()

    def __len__(self) -> int:
        """Batches of this epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The batches of this epoch, int64 (batch_size,); from where it was left if a state was just loaded."""
        start, self._resume_at = self._resume_at, 0
        self._position = start
        return self._walk(self.batches, start)

    def __repr__(self) -> str:
        return (
            f"HardBatchSampler({self.n} ids, batch_size={self.batch_size}, hardness={self.hardness}, "
            f"seed={self.seed}, epoch={self.epoch}, strategy={self.strategy!r})"
        )

    @property
    def batches(self) -> np.ndarray:
        return self._plan()[0]

    @property
    def anchors(self) -> np.ndarray:
        return self._plan()[1]

    @property
    def dropped(self) -> np.ndarray:
        unused = np.ones(self.n, bool)
        unused[self.batches] = False
        return np.flatnonzero(unused)

    def hardest_positives(self, ids: Any) -> Any:
        """The hardest positive of each id: the one that comes last among its neighbours, or is none of them.

        Parameters
        ----------
        ids : array, int (m,)

        Returns
        -------
        array, int64 (m,)
            Of the framework of `ids`; -1 where an id has no positive. Of several positives that are no neighbours it
            is the first in `positives`, or without these, one of the label drawn by (seed, epoch, id).

        Raises
        ------
        TypeError, ValueError
            If ids are not what they should be, or the sampler has neither positives nor labels.

        Notes
        -----
        Neighbours tell little about positives, which are mostly left out of them. `CodeTable.hardest_positives`
        measures the distance; pass what it returns as `positives`.
        """
        given = arrays.integers(ids, "ids", (None,))
        exclusions.check_ids(given, "ids", self.n, none=False)
        if self._positives is not None:
            pairs = pairing.listed(self._positives[given])
        elif self._labels is not None:
            self._same_label = self._same_label or pairing.SameLabel(self._labels)
            pairs = self._same_label.pairs(given)
        else:
            raise ValueError("positives is missing: the sampler has neither positives nor labels to tell them by")
        found = np.full(len(given), NO_INDEX)
        for place, row in pairs:
            kept = row != given[place]
            place, row = place[kept], row[kept]
            among = self._neighbours[given[place]] == row[:, None]
            rank = np.where(among.any(axis=1), among.argmax(axis=1), self._neighbours.shape[1])
            turn = np.arange(len(row)) if self._positives is not None else self._draw(given[place], row)
            pairing.choose(found, place, row, turn, -rank)
        return arrays.exporter(ids)(found)

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Where the epoch stands and what is left of it: numbers and NumPy arrays, in copies.

        Parameters
        ----------
        position : int, optional
            Batches of this epoch that the training loop is done with; by default those handed out, of which a
            loader that fetches ahead may still hold some.
        """
        handed_out = self._position if position is None else checks.integer(position, "position", minimum=0)
        return {
            "n": self.n, "batch_size": self.batch_size, "hardness": self.hardness, "seed": self.seed,
            "strategy": self.strategy, "epoch": self.epoch, "position": min(handed_out, len(self)),
            "batches": self.batches.copy(), "anchors": self.anchors.copy(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state was taken: the next iteration gives the rest of its epoch, whatever the neighbours.

        Raises
        ------
        TypeError, ValueError
            If it is not a state of a sampler of this n, batch_size and strategy. The sampler is as it was.
        """
        known = {name: entry(state_dict, name) for name in ("n", "batch_size")}
        for name, given in (known | {"strategy": state_dict.get("strategy", "top")}).items():
            if given != (own := getattr(self, name)):
                raise ValueError(f"state_dict is of a sampler with {name}={given!r}, but this one has {name}={own!r}")
        batches = array(state_dict, "batches", np.int64, (None, self.batch_size))
        anchors = array(state_dict, "anchors", np.int64, batches.shape)
        if batches.size and (batches.min() < 0 or len(np.unique(batches)) < batches.size or batches.max() >= self.n):
            raise ValueError(f"state_dict['batches'] must hold ids of 0 to {self.n - 1}, none of them twice")
        position = checks.integer(entry(state_dict, "position"), "state_dict['position']", minimum=0)
        hardness = checks.real(entry(state_dict, "hardness"), "state_dict['hardness']", minimum=0.0, maximum=1.0)
        seed, epoch = (checks.integer(entry(state_dict, x), f"state_dict[{x!r}]", minimum=0) for x in ("seed", "epoch"))
        self._hardness, self.seed, self.epoch = hardness, seed, epoch
        self._composed, self._position, self._resume_at = _frozen(batches, anchors), position, position

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        if self._composed is None:
            order = np.argsort(self._draw(np.array([NO_INDEX]), np.arange(self.n)), kind="stable")
            neighbours = self._preference.ordered(self._neighbours, self._scores, self._epoch_seed())
            n_hard = int(self.hardness * (self.batch_size - 1) + 0.5)
            request = Composition(order, neighbours, self._labels, self._positives, self.batch_size, n_hard)
            # Ids are on the host, whatever device is searched on.
            backend = "reference" if choose_backend() == "reference" else "cpu"
            self._composed = _frozen(*implementation("compose_batches", backend)(request))
        return self._composed

    def _draw(self, stream: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Random uint64 numbers that depend on (seed, epoch, stream, id) alone."""
        return mix64(mix64(ids, 0) ^ mix64(stream, self._epoch_seed()), 0)

    def _epoch_seed(self) -> int:
        return int(mix64(np.array([self.epoch]), self.seed)[0])

    def _take(self, neighbours: Any, scores: Any) -> None:
        ids = _rows_of_ids(neighbours, "neighbours", self.n)
        self._scores = self._preference.scores(_scores_of(neighbours, scores), ids)
        self._neighbours = ids
        self._replan()

    def _replan(self) -> None:
        self._composed = None
        self._position = self._resume_at = 0

    def _walk(self, batches: np.ndarray, start: int) -> Iterator[np.ndarray]:
        for number in range(start, len(batches)):
            self._position = number + 1
            yield batches[number].copy()


def _rows_of_ids(given: Any, name: str, n: int | None) -> np.ndarray:
    """Ids (n, k), or one for each row (n,), checked and C-contiguous; a NamedTuple with `indices` stands for these."""
    given = getattr(given, "indices", given) if isinstance(given, tuple) else given
    one_each = name == "positives" and np.ndim(given) == 1
    ids = arrays.integers(given, name, (n,) if one_each else (n, None))
    exclusions.check_ids(ids, name, len(ids))
    return np.ascontiguousarray(ids[:, None] if one_each else ids)


def _scores_of(neighbours: Any, scores: Any) -> Any:
    """The scores given, or else those that the result given as neighbours holds."""
    return getattr(neighbours, "scores", None) if scores is None and isinstance(neighbours, tuple) else scores


def _frozen(batches: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    batches.flags.writeable = anchors.flags.writeable = False
    return batches, anchors
