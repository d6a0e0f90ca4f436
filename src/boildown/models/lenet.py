"""The two LeNets of the compression literature."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from boildown.models.mlp import MLP
from boildown.models.shape import image_shape


class LeNet300(MLP):
    """LeNet-300-100: hidden layers of 300 and 100 units; 266,610 parameters on MNIST.

    Args:
        input_shape: of one sample, flattened.
        num_classes: outputs.

    Source: LeCun et al. 1998, http://vision.stanford.edu/cs598_spring07/papers/Lecun98.pdf
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int) -> None:
        super().__init__(input_shape, num_classes, widths=(300, 100))


class LeNet5(nn.Module):
    """Caffe's LeNet-5: no ReLU after the convolutions; 431,080 parameters on MNIST.

    Args:
        input_shape: (C, H, W), at least 16x16 pixels.
        num_classes: outputs.

    Raises:
        ValueError: if `input_shape` is not that of such an image.

    Source: https://github.com/BVLC/caffe/blob/master/examples/mnist/lenet_train_test.prototxt
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, "LeNet5", smallest=16)
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * _pooled(height) * _pooled(width), 500)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        x = max_pool2d(self.conv1(x), 2)
        x = max_pool2d(self.conv2(x), 2)
        logits: Tensor = self.fc2(self.fc1(x.flatten(1)).relu())
        return logits


def _pooled(pixels: int) -> int:
    """One side of the map that reaches fc1."""
    return ((pixels - 4) // 2 - 4) // 2
