"""SqueezeNet 1.0."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from boildown.models.shape import image_shape


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side.

    Args:
        inputs: channels in.
        squeeze: channels in between.
        expand: channels out of each of the two.
    """

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 2 * expand, H, W)."""
        x = self.squeeze1x1(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1).relu()


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0: 1,248,424 parameters on colour images and 1000 classes.

    Args:
        input_shape: (C, H, W), at least 21x21 pixels.
        num_classes: outputs.
        dropout: probability of dropping an input of the last convolution, in [0, 1).

    Raises:
        ValueError: if `input_shape` is not that of such an image, or `dropout` out of range.

    Source: Iandola et al. 2016, table 1, https://arxiv.org/abs/1602.07360
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, dropout: float) -> None:
        super().__init__()
        channels, _, _ = image_shape(input_shape, "SqueezeNet", smallest=21)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.conv1 = nn.Conv2d(channels, 96, 7, stride=2)
        self.fire2 = Fire(96, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.fire4 = Fire(128, 32, 128)
        self.fire5 = Fire(256, 32, 128)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.drop = nn.Dropout(dropout)
        self.conv10 = nn.Conv2d(512, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # these have one
        nn.init.normal_(self.conv10.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        x = max_pool2d(self.conv1(x).relu(), 3, stride=2, ceil_mode=True)
        x = self.fire4(self.fire3(self.fire2(x)))
        x = max_pool2d(x, 3, stride=2, ceil_mode=True)
        x = self.fire8(self.fire7(self.fire6(self.fire5(x))))
        x = max_pool2d(x, 3, stride=2, ceil_mode=True)
        # The paper's Caffe model has a ReLU after conv10, which can leave a class without gradient.
        logits: Tensor = self.conv10(self.drop(self.fire9(x))).mean(dim=(2, 3))
        return logits
