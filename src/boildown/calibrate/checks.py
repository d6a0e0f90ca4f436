"""What is wrong with a layer and its samples, before one is fitted to the other."""

import torch
from torch import Tensor

DIVERGED = "the training has diverged; take weights from before that"


def check_matrix(weight: Tensor, name: str = "the weight") -> None:
    """Refuse what is no finite matrix.

    Raises:
        ValueError: naming it and what is wrong.
    """
    if weight.ndim != 2 or not weight.is_floating_point() or 0 in weight.shape:
        raise ValueError(
            f"{name} must be a matrix of floats, got {tuple(weight.shape)} {weight.dtype}"
        )
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} holds NaN or infinity: {DIVERGED}")


def check_layer(weight: Tensor, bias: Tensor | None) -> None:
    """Refuse a weight that is no finite matrix, or a bias that does not fit it.

    Raises:
        ValueError: naming what is wrong.
    """
    check_matrix(weight)
    if bias is None:
        return
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"the bias must have {weight.shape[0]} entries, one for each row of the weight, "
            f"got {tuple(bias.shape)}"
        )
    if not torch.isfinite(bias).all():
        raise ValueError("the bias holds NaN or infinity: the training has diverged before it")


def check_rows(samples: Tensor, name: str) -> None:
    """Refuse what is no finite matrix with a row for each sample.

    Raises:
        ValueError: naming it and what is wrong.
    """
    if samples.ndim != 2 or not samples.is_floating_point() or 0 in samples.shape:
        raise ValueError(
            f"{name} must be a matrix of floats with a row for each sample, "
            f"got {tuple(samples.shape)} {samples.dtype}"
        )
    if not torch.isfinite(samples).all():
        raise ValueError(f"{name} hold NaN or infinity: a layer before has diverged")


def check_features(features: int, weight: Tensor) -> None:
    """Refuse inputs that the weight cannot take.

    Raises:
        ValueError: naming both lengths.
    """
    if features != weight.shape[1]:
        raise ValueError(f"inputs have {features} features, but the weight takes {weight.shape[1]}")


def check_samples(weight: Tensor, inputs: Tensor, targets: Tensor | None) -> None:
    """Refuse calibration samples that are not finite, or do not fit the weight or each other.

    Raises:
        ValueError: naming what is wrong.
    """
    check_rows(inputs, "inputs")
    check_features(inputs.shape[1], weight)
    if targets is None:
        return
    check_rows(targets, "targets")
    if targets.shape != (len(inputs), weight.shape[0]):
        raise ValueError(
            f"targets must be {(len(inputs), weight.shape[0])}, a row for each input and a column "
            f"for each output, got {tuple(targets.shape)}"
        )
