"""How sharply a loss bends in a layer's weights: traces of its Hessian, without the Hessian."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from boildown.calibrate.gradients import free
from boildown.forward import evaluating

Batch = TypeVar("Batch")
PROBES = 8


def mean_traces(
    model: nn.Module,
    batches: Iterable[Batch],
    parameters: Iterable[str],
    loss: Callable[[Batch], Tensor],
    *,
    probes: int = PROBES,
    seed: int = 0,
) -> dict[str, float]:
    """The mean of the diagonal of each parameter's own block of the loss's Hessian.

    Hutchinson: the mean over random signs v of v . H v, for all parameters with one product, as
    what blocks have to do with each other is 0 in the mean. The model is left as it was.

    Args:
        model: what `loss` passes a batch through, in evaluation mode.
        batches: whatever `loss` takes; gone through once.
        parameters: dotted paths.
        loss: batch -> scalar that can be differentiated twice.
        probes: v for each batch, at least 1.
        seed: of v.

    Returns:
        parameter -> mean; 0.0 for one that does not move the loss.

    Source: Dong et al. 2020 (HAWQ-V2), algorithm 2, https://arxiv.org/abs/1911.03852
    """
    wanted = {name: model.get_parameter(name) for name in parameters}
    make = torch.Generator().manual_seed(seed)
    sums, count = dict.fromkeys(wanted, 0.0), 0
    for batch in batches:
        twice = sdpa_kernel(SDPBackend.MATH)  # the other kernels of attention have no second
        with evaluating(model), torch.enable_grad(), free(wanted.values()), twice:
            said = loss(batch)
            count += probes
            for name, found in _products(said, wanted, probes, make).items():
                sums[name] += found
    return {name: total / max(count, 1) / wanted[name].numel() for name, total in sums.items()}


def _products(
    said: Tensor, wanted: dict[str, nn.Parameter], probes: int, make: torch.Generator
) -> dict[str, float]:
    """V . H v of each parameter, summed over the probes."""
    if not said.requires_grad:
        return {}
    first = torch.autograd.grad(said, list(wanted.values()), create_graph=True, allow_unused=True)
    bent = {
        name: gradient
        for name, gradient in zip(wanted, first, strict=True)
        if gradient is not None and gradient.requires_grad
    }
    sums = dict.fromkeys(bent, 0.0)
    for probe in range(probes if bent else 0):
        signs = [_signs(wanted[name], make) for name in bent]
        products = torch.autograd.grad(
            list(bent.values()),
            [wanted[name] for name in bent],
            signs,
            retain_graph=probe < probes - 1,
            allow_unused=True,
        )
        for name, v, product in zip(bent, signs, products, strict=True):
            sums[name] += 0.0 if product is None else float((v * product).sum())
    return sums


def _signs(parameter: Tensor, make: torch.Generator) -> Tensor:
    drawn = torch.randint(0, 2, parameter.shape, generator=make)
    return (2.0 * drawn - 1.0).to(parameter)
