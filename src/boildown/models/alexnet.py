"""AlexNet, as Caffe trains it."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from boildown.models.shape import image_shape


class AlexNet(nn.Module):
    """Caffe's AlexNet, with groups and local response normalisation.

    60,965,224 parameters on 227x227 colour images and 1000 classes.

    Args:
        input_shape: (C, H, W), at least 67x67 pixels.
        num_classes: outputs.
        dropout: probability of dropping an input of fc7 and fc8, in [0, 1).

    Raises:
        ValueError: if `input_shape` is not that of such an image, or `dropout` out of range.

    Source: Krizhevsky et al. 2012, in the form of
    https://github.com/BVLC/caffe/blob/master/models/bvlc_alexnet/train_val.prototxt
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, "AlexNet", smallest=67)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.conv1 = nn.Conv2d(channels, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * _pooled(height) * _pooled(width), 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        x = max_pool2d(self.norm(self.conv1(x).relu()), 3, stride=2)
        x = max_pool2d(self.norm(self.conv2(x).relu()), 3, stride=2)
        x = self.conv4(self.conv3(x).relu()).relu()
        x = max_pool2d(self.conv5(x).relu(), 3, stride=2)
        x = self.drop(self.fc6(x.flatten(1)).relu())
        x = self.drop(self.fc7(x).relu())
        logits: Tensor = self.fc8(x)
        return logits


def _pooled(pixels: int) -> int:
    """One side of the map that reaches fc6."""
    side = (pixels - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side
