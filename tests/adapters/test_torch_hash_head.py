"""A learned head: its quantizer gives its signs, its loss is that of hashneg.hashing and can be trained."""

from __future__ import annotations

import pytest
from helpers.requirements import need

import hashneg as hn

torch = need("torch")

from hashneg.adapters.torch import HashHead, nsh_loss  # noqa: E402


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained_a_little(norm: bool, dtype: torch.dtype) -> tuple[HashHead, torch.Tensor]:
    """A head whose thresholds are not zero, and rows it has not seen."""
    torch.manual_seed(0)
    head = HashHead(19, 37, norm=norm).to(dtype)
    optimizer = torch.optim.SGD(head.parameters(), 0.1)
    for step in range(3):
        x = torch.randn(65, 19, generator=generator(step), dtype=dtype) + 0.5
        nsh_loss(head, x, x.roll(1, dims=1)).backward()
        optimizer.step()
    return head, torch.randn(501, 19, generator=generator(9), dtype=dtype) + 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [True, False])
def test_the_quantizer_gives_the_signs_of_the_head(norm, dtype):
    head, x = trained_a_little(norm, dtype)
    activations = head.eval()(x).detach()
    deviation = head.norm.running_var.sqrt() if norm else 1
    unclear = (activations * deviation).abs() < 1e-5
    assert unclear.float().mean() < 1e-3
    signs = head.quantizer().encode(x).to_signs()
    assert ((signs == torch.where(activations >= 0, 1, -1)) | unclear).all()
    assert (head.quantizer().thresholds != 0).all()


def test_the_quantizer_keeps_what_the_head_was():
    head, x = trained_a_little(True, torch.float32)
    quantizer = head.quantizer()
    before = quantizer.encode(x).data.clone()
    with torch.no_grad():
        head.linear.weight.neg_()
        head.norm.running_mean.zero_()
    assert torch.equal(quantizer.encode(x).data, before)


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_loss_is_the_librarys_and_reaches_head_and_encoder(stochastic):
    torch.manual_seed(0)
    head = HashHead(7, 13)
    x, y = (torch.randn(33, 7, generator=generator(seed)).requires_grad_() for seed in range(2))
    loss = nsh_loss(head, x, y, stochastic=stochastic, generator=generator(5), m=3, own_first=False)
    uniform = torch.rand(2, 33, 13, generator=generator(5)) if stochastic else None
    assert loss.item() == hn.hashing.nsh(head(x), x, head(y), y, m=3, own_first=False, uniform=uniform).item()
    loss.backward()
    assert all(grad.abs().sum() > 0 for grad in (head.linear.weight.grad, x.grad, y.grad))


@pytest.mark.parametrize("stochastic", [False, True])
def test_training_brings_neighbours_together(stochastic):
    """A frozen encoder: the loss falls, and the codes find more of the true neighbours than those of the start."""
    torch.manual_seed(0)
    centres = 2 * torch.randn(24, 16, generator=generator(1))

    def rows(seed: int) -> torch.Tensor:
        noise = torch.randn(240, 16, generator=generator(seed))
        return torch.nn.functional.normalize(centres.repeat(10, 1) + noise, dim=1)

    def precision(quantizer: hn.BinaryQuantizer) -> float:
        codes, others = quantizer.encode(rows(100)), quantizer.encode(rows(101))
        found = hn.hamming_topk(codes, others, 10).indices
        return float((found % 24 == torch.arange(240)[:, None] % 24).float().mean())

    head = HashHead(16, 8)
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    losses, at_first = [], precision(hn.BinaryQuantizer.from_projection(head.linear.weight.detach()))
    for step in range(60):
        loss = nsh_loss(head, rows(2 * step + 200), rows(2 * step + 201), m=4, stochastic=stochastic)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < sum(losses[:10])
    assert precision(head.quantizer()) > at_first + 0.05


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="n_bits must be at least 1"):
        HashHead(4, 0)
    with pytest.raises(TypeError, match="dim must be"):
        HashHead(4.5, 8)
