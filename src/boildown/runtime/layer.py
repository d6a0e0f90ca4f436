"""A layer in the forms that were fastest, each for the size of input that it was measured on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boildown.runtime.forms import Form
from boildown.structure.replace import noted

Choice = tuple[int, str, int]  # elements of an input, the form for it, and its columns


class CompiledLayer(nn.Module):
    """Stands for a Linear or a Conv2d, for inference.

    Its state_dict is that of the layer it stands for. An input of another size than any that was
    measured takes the form of the nearest one, by ratio.

    Attributes:
        bias: as it was, untrained.
        forms: name -> form.
        choices: by size.
    """

    bias: nn.Parameter | None

    def __init__(
        self, layer: nn.Module, forms: Mapping[str, Form], choices: Sequence[Choice]
    ) -> None:
        """Make the layer.

        Args:
            layer: what it stands for; neither kept nor changed.
            forms: name -> form, of the weight.
            choices: at least one, each of a form there is.
        """
        super().__init__()
        given: Any = layer.bias
        own = None if given is None else nn.Parameter(given.detach().clone(), requires_grad=False)
        self.register_parameter("bias", own)
        self.forms = nn.ModuleDict({name: forms[name] for _, name, _ in choices})
        self.choices = tuple(sorted(choices))
        self._by_size = {size: (forms[name], columns) for size, name, columns in self.choices}
        for name in _KEPT:
            if name in vars(layer):
                setattr(self, name, getattr(layer, name))
        noted(self, layer)

    @property
    def weight(self) -> Tensor:
        """The layer's weight, made on each call: for what looks at it, not for speed."""
        form: Any = next(iter(self.forms.values()))
        made: Tensor = form.dense()
        return made

    def chosen(self, size: int) -> Choice:
        """What an input of so many elements takes."""
        far = math.log(max(size, 1))
        return min(self.choices, key=lambda choice: abs(math.log(max(choice[0], 1)) - far))

    def forward(self, input: Tensor) -> Tensor:  # as the layers it stands for name it
        if torch.is_grad_enabled() and input.requires_grad:
            raise RuntimeError(
                "a compiled layer is for inference and gives no gradients: call the model under "
                "torch.no_grad() or torch.inference_mode(), or train the plain model"
            )
        size = input.numel()
        form, columns = self._by_size.get(size) or self._by_size[self.chosen(size)[0]]
        # not self.bias: a small layer takes as long as three such look-ups
        return form.forward(input, self._parameters["bias"], columns)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        errors: list[str] = rest[-1]
        errors.append(
            f"{prefix.removesuffix('.') or 'the layer'} is compiled for the weights it had: load "
            "the state into the plain model and compile that"
        )

    def extra_repr(self) -> str:
        rows = (f"{n}/{columns}" if columns else n for _, n, columns in self.choices)
        return ", ".join(dict.fromkeys(rows))


_KEPT = (
    *("in_features", "out_features"),
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "padding_mode",
)
