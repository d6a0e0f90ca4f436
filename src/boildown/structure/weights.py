"""Which parameters are weights: what a layer multiplies its inputs with, or looks up.

Decided by what a parameter is and not by its number of axes: a gain of weight_norm has two axes,
and cutting it would switch off whole neurons.
"""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def weights_in(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a network by their names, tied ones once.

    Those of linear, convolution, embedding, recurrent and attention layers, the direction of a
    weight_norm and what other parametrizations compute a weight from; of modules of one's own
    every parameter with at least two axes longer than 1. Not biases, the gains of norms and of
    weight_norm, nor scales and tokens with a single long axis.

    Raises:
        ValueError: for a lazy layer that no batch has gone through, naming it.
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            if isinstance(parameter, UninitializedParameter):
                raise ValueError(
                    f"{name} is not initialised yet: the layer is lazy, and its shape unknown; "
                    "pass one batch through the network before the fit"
                )
            if id(parameter) not in seen and _is_weight(module, name.rpartition(".")[2], parameter):
                found[name] = parameter
            seen.add(id(parameter))
    return found


def _is_weight(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    if parameter.ndim < 2 or isinstance(module, NORMS) or name.startswith("bias"):
        return False
    if isinstance(module, ParametrizationList):
        return parameter.numel() == max(p.numel() for p in module.parameters(recurse=False))
    if name.endswith("_g") and hasattr(module, f"{name[:-2]}_v"):  # of the older weight_norm
        return False
    if type(module).__module__.startswith("torch.nn."):
        return True
    return isinstance(module, nn.Linear | nn.Embedding) or sum(n > 1 for n in parameter.shape) > 1
