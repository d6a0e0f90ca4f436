"""The residual networks for CIFAR."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from boildown.models.shape import image_shape


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A).

    Where the shape changes, the shortcut takes every second pixel and pads new channels with
    zeros.

    Args:
        inputs: channels in.
        outputs: channels out, at least as many.
        stride: of the first convolution, 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            front = self.new_channels // 2
            shortcut = pad(shortcut, (0, 0, 0, 0, front, self.new_channels - front))
        out: Tensor = (y + shortcut).relu()
        return out


class ResNet(nn.Module):
    """He's residual network for small images: a family with a width and a depth.

    ResNet-20, of width 16 and depth 20, has 269,722 parameters on CIFAR-10.

    Args:
        input_shape: (C, H, W), at least 4x4 pixels.
        num_classes: outputs.
        width: channels of the first stage; the others have twice and four times as many.
        depth: layers with weights, 6n + 2 for n blocks per stage.

    Raises:
        ValueError: for a shape, width or depth that does not fit.

    Source: He et al. 2015, section 4.2, https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self, input_shape: Sequence[int], num_classes: int, width: int, depth: int
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape(input_shape, "ResNet", smallest=4)
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 26, 32, ...), got {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.fc = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


ResNet20 = ResNet  # its name in the first version, which configs and files may hold
