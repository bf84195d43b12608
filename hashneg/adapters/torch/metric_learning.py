"""A miner and a k-NN function with the signatures of pytorch-metric-learning, which need not be installed."""

from __future__ import annotations

import torch

from hashneg import checks
from hashneg.hamming import hamming_topk
from hashneg.mining import mine_hard_negatives
from hashneg.quantize import BinaryQuantizer

Pairs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class HammingMiner(torch.nn.Module):
    """All positive pairs, and for each anchor the k nearest items of other labels by their codes.

    Pays where the references are many, as with a cross-batch memory: memory stays at k pairs for each anchor.

    Parameters
    ----------
    quantizer : int or BinaryQuantizer
        Bits of the codes, or a quantizer; one that is not fitted is fitted on the references of the first call.
    k : int
        Negatives of an anchor.

    Examples
    --------
    >>> import torch
    >>> from hashneg.adapters.torch import HammingMiner
    >>> x = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.9, -0.3], [-1.0, 0.2]])
    >>> a1, p, a2, n = HammingMiner(64, k=1)(x, torch.tensor([0, 0, 1, 1]))
    >>> a1.tolist(), p.tolist()
    ([0, 1, 2, 3], [1, 0, 3, 2])
    >>> a2.tolist(), n.tolist()
    ([0, 1, 2, 3], [2, 2, 1, 0])
    """

    def __init__(self, quantizer: int | BinaryQuantizer = 256, k: int = 16) -> None:
        super().__init__()
        self.quantizer = quantizer if isinstance(quantizer, BinaryQuantizer) else BinaryQuantizer(quantizer)
        self.k = checks.integer(k, "k", minimum=1)

    @torch.no_grad()
    def forward(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        ref_emb: torch.Tensor | None = None,
        ref_labels: torch.Tensor | None = None,
    ) -> Pairs:
        """Indices (anchors, positives, anchors, negatives), int64 vectors; references are the batch by default."""
        if (ref_emb is None) != (ref_labels is None):
            raise ValueError("ref_emb and ref_labels go together: one of them is missing")
        within = ref_emb is None
        if ref_emb is None or ref_labels is None:
            ref_emb, ref_labels = embeddings, labels
        rows, references = (torch.nn.functional.normalize(x.detach(), dim=1) for x in (embeddings, ref_emb))
        if self.quantizer.dim is None:
            self.quantizer.fit(references)
        found = hamming_topk(
            self.quantizer.encode(rows), self.quantizer.encode(references), self.k,
            query_labels=labels, database_labels=ref_labels,
        )  # fmt: skip
        same = labels[:, None].to(ref_labels.device) == ref_labels[None, :]
        if within:
            same.fill_diagonal_(False)
        anchors, positives = torch.where(same)
        real = found.indices >= 0
        return anchors, positives, torch.where(real)[0], found.indices[real]


class HammingKNN:
    """A k-NN function for the testers: candidates by Hamming distance, ordered by their cosine.

    Parameters
    ----------
    n_bits : int
    rerank : int
        Candidates for each neighbour, as in `mine_hard_negatives`; 0 keeps Hamming order.
    seed : int

    Examples
    --------
    >>> import torch
    >>> from hashneg.adapters.torch import HammingKNN
    >>> x = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    >>> distances, indices = HammingKNN(256)(x, 3, x, True)
    >>> indices.shape, bool((indices == torch.arange(200)[:, None]).any())
    (torch.Size([200, 3]), False)
    """

    def __init__(self, n_bits: int = 512, *, rerank: int = 4, seed: int = 0) -> None:
        self.n_bits = checks.integer(n_bits, "n_bits", minimum=1)
        self.rerank = checks.integer(rerank, "rerank", minimum=0)
        self.seed = checks.integer(seed, "seed", minimum=0)

    def __call__(
        self,
        query: torch.Tensor,
        k: int,
        reference: torch.Tensor | None = None,
        ref_includes_query: bool = False,
        *,
        embeddings_come_from_same_source: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances 1 - cosine, float32 (nq, k), and rows of `reference`, int64 (nq, k).

        With `ref_includes_query` (in older releases embeddings_come_from_same_source) query i is row i of the
        reference, and is left out.
        """
        reference = query if reference is None else reference
        own = ref_includes_query or embeddings_come_from_same_source
        k = checks.integer(k, "k", minimum=1)
        if k > len(reference) - own:
            raise ValueError(f"k={k} neighbours are more than the {len(reference) - own} that there are")
        found = mine_hard_negatives(
            query, reference, k=k, quantizer=self.n_bits, rerank=self.rerank, seed=self.seed,
            query_ids=torch.arange(len(query)) if own else None,
        )  # fmt: skip
        return 1 - found.scores, found.indices
