"""VGG-16."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from boildown.models.shape import image_shape

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions; then a pool


class VGG16(nn.Module):
    """VGG-16 (configuration D), layers conv1_1 to conv5_3 and fc6 to fc8.

    138,357,544 parameters on 224x224 colour images and 1000 classes.

    Args:
        input_shape: (C, H, W), at least 32x32 pixels.
        num_classes: outputs.
        dropout: probability of dropping an input of fc7 and fc8, in [0, 1).

    Raises:
        ValueError: if `input_shape` is not that of such an image, or `dropout` out of range.

    Source: Simonyan & Zisserman 2014, table 1, https://arxiv.org/abs/1409.1556
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, "VGG16", smallest=32)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        for stage, (outputs, convolutions) in enumerate(STAGES, 1):
            for i in range(1, convolutions + 1):
                conv = nn.Conv2d(channels, outputs, 3, padding=1)
                # Without normalisation the signal dies out under PyTorch's default.
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
                self.add_module(f"conv{stage}_{i}", conv)
                channels = outputs
        self.fc6 = nn.Linear(channels * (height // 32) * (width // 32), 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        for stage, (_, convolutions) in enumerate(STAGES, 1):
            for i in range(1, convolutions + 1):
                x = self.get_submodule(f"conv{stage}_{i}")(x).relu()
            x = max_pool2d(x, 2)
        x = self.drop(self.fc6(x.flatten(1)).relu())
        x = self.drop(self.fc7(x).relu())
        logits: Tensor = self.fc8(x)
        return logits
