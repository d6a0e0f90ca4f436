"""Networks of every kind of coupling, for the tests of shrinking."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.models.alexnet import AlexNet
from boildown.models.lenet import LeNet5
from boildown.models.mlp import MLP
from boildown.models.resnet import ResNet
from boildown.models.squeezenet import SqueezeNet
from boildown.models.transformer import BERT, GPT
from boildown.models.vgg import VGG16


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.down = nn.Sequential()
        if inputs != outputs:
            self.down.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.down.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.down(x))


class Bottlenecks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.layers = nn.Sequential(
            Bottleneck(16, 8, 32, 1), Bottleneck(32, 8, 32, 1), Bottleneck(32, 16, 64, 2)
        )
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn(self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Inverted(nn.Module):
    """An inverted residual block: depthwise convolution, and a gate for each channel."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 3 * inputs
        self.adds = inputs == outputs
        self.expand = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.squeeze = nn.Conv2d(outputs, 4, 1)
        self.excite = nn.Conv2d(4, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.expand(x)), inplace=True)
        y = self.bn3(self.project(F.hardswish(self.bn2(self.depthwise(y)))))
        gate = self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        return x + y * gate if self.adds else y * gate


class Mobile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.blocks = nn.Sequential(Inverted(8, 12, 1), Inverted(12, 12, 1), Inverted(12, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class Densely(nn.Module):
    """Concatenation of all that came before, and a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 6 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 6 * i, 6, 3, padding=1) for i in range(3))
        self.transition = nn.Conv2d(26, 12, 1)
        self.fc = nn.Linear(12 * 4, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            seen.append(conv(F.relu(norm(torch.cat(seen, 1)))))
        x = F.avg_pool2d(self.transition(torch.cat(seen, 1)), 8).flatten(1)
        return {"logits": self.fc(x)}


class UNet(nn.Module):
    """Skips, transposed convolutions, group norm, and a tuple of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 8, 3, padding=1)
        self.down2 = nn.Conv2d(8, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.middle = nn.Conv2d(16, 24, 3, padding=1)
        self.up2 = nn.ConvTranspose2d(24, 16, 2, 2)
        self.conv2 = nn.Conv2d(32, 16, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, 2)
        self.conv1 = nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = F.relu(self.down1(x))
        two = F.relu(self.norm(self.down2(F.max_pool2d(one, 2))))
        x = F.relu(self.middle(F.max_pool2d(two, 2)))
        x = F.relu(self.conv2(torch.cat([self.up2(x), two], 1)))
        x = F.relu(self.conv1(torch.cat([self.up1(x), one], 1)))
        return self.out(x), x.mean()


class GroupedQueries(nn.Module):
    """Rotary attention whose heads share keys and values, norms of these, and a gated layer."""

    def __init__(self, width: int = 32, heads: int = 8, shared: int = 4) -> None:
        super().__init__()
        self.head_dim, self.shared = width // heads, shared
        self.norm1 = nn.RMSNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width // shared, bias=False)
        self.v = nn.Linear(width, width // shared, bias=False)
        self.q_norm = nn.RMSNorm(self.head_dim)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.RMSNorm(width)
        self.gate = nn.Linear(width, 2 * 48, bias=False)
        self.down = nn.Linear(48, width, bias=False)

    def rotated(self, x: Tensor) -> Tensor:
        half = self.head_dim // 2
        angles = torch.arange(x.shape[2])[:, None] / 100.0 ** (torch.arange(half) / half)
        angles = torch.cat([angles, angles], -1)
        one, two = x[..., :half], x[..., half:]
        return x * angles.cos() + torch.cat([-two, one], -1) * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        y = self.norm1(x)
        q, k, v = (
            layer(y).view(batch, length, -1, self.head_dim).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        q, k = self.rotated(self.q_norm(q)), self.rotated(k)
        k, v = (
            t[:, :, None].expand(-1, -1, self.shared, -1, -1).flatten(1, 2).contiguous()
            for t in (k, v)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        gate, up = self.gate(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    """Grouped queries, learned positions, and an output layer tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        self.position = nn.Parameter(torch.randn(1, 12, 32))
        self.blocks = nn.Sequential(GroupedQueries(), GroupedQueries())
        self.norm = nn.RMSNorm(32)
        self.head = nn.Linear(32, 40, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.embed(symbols) + self.position[:, : symbols.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, 24)
        layer = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.into(x)).mean(1))


class Vision(nn.Module):
    """Patches, a class token, and heads whose number its code counts on."""

    def __init__(self, width: int = 24, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.num_heads, self.head_dim = heads, width // heads
        self.project = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        batch, length, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = (q @ k.transpose(-2, -1) * self.head_dim**-0.5).softmax(-1) @ v
        seen = seen.transpose(1, 2).reshape(batch, length, self.num_heads * self.head_dim)
        x = x + self.scale * self.project(seen)
        return self.fc((x + self.down(F.gelu(self.up(self.norm2(x)))))[:, 0])


class Shuffled(nn.Module):
    """Grouped convolutions with a shuffle of the channels between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1)
        self.grouped1 = nn.Conv2d(12, 24, 1, groups=3)
        self.grouped2 = nn.Conv2d(24, 24, 3, padding=1, groups=3)
        self.fc = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.grouped1(F.relu(self.first(x))))
        batch, channels, height, width = x.shape
        x = x.view(batch, 3, channels // 3, height, width).transpose(1, 2)
        x = F.relu(self.grouped2(x.reshape(batch, channels, height, width)))
        return self.fc(x.mean((2, 3)))


class Case(NamedTuple):
    """A network, an example, and groups that must be among those found -> their units."""

    model: nn.Module
    example: Any
    groups: dict[str, int]


def case(name: str) -> Case:
    torch.manual_seed(0)
    image, symbols = torch.randn(2, 3, 16, 16), torch.randint(0, 40, (2, 9))
    made = {
        "mlp": lambda: Case(MLP((3, 16, 16), 4, [20, 12]), image, {"fc1": 20, "fc2": 12}),
        "lenet5": lambda: Case(
            LeNet5((3, 16, 16), 4), image, {"conv1": 20, "conv2": 50, "fc1": 500}
        ),
        "resnet20": lambda: Case(
            ResNet((3, 16, 16), 4, 16, 20),
            image,
            {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv2": 8, "layer3.0.conv2": 16},
        ),
        "bottlenecks": lambda: Case(
            Bottlenecks(), image, {"stem": 16, "layers.0.conv3": 32, "layers.1.conv2": 8}
        ),
        "vgg": lambda: Case(VGG16((3, 32, 32), 4, 0.0), torch.randn(1, 3, 32, 32), {"fc6": 4096}),
        "alexnet": lambda: Case(
            AlexNet((3, 67, 67), 4, 0.0), torch.randn(1, 3, 67, 67), {"conv5": 128, "fc7": 4096}
        ),
        "squeezenet": lambda: Case(
            SqueezeNet((3, 32, 32), 4, 0.0),
            torch.randn(1, 3, 32, 32),
            {"fire2.squeeze1x1": 16, "fire2.expand1x1": 64, "fire9.expand3x3": 256},
        ),
        "mobile": lambda: Case(
            Mobile(),
            image,
            {"stem": 8, "blocks.0.expand": 24, "blocks.0.project": 12, "blocks.1.squeeze": 4},
        ),
        "densely": lambda: Case(Densely(), image, {"stem": 8, "convs.0": 6, "transition": 12}),
        "unet": lambda: Case(
            UNet(), image, {"down1": 8, "down2": 4, "middle": 24, "up2": 16, "up1": 8}
        ),
        "shuffled": lambda: Case(Shuffled(), image, {"first": 4, "grouped2": 8}),
        "gpt": lambda: Case(
            GPT((16,), 40, 64, 2, 4, True, 0.0), symbols, {"blocks.0.qkv": 4, "blocks.1.up": 256}
        ),
        "bert": lambda: Case(
            BERT((16,), 40, 64, 2, 4, False, 0.0), symbols, {"blocks.0.qkv": 4, "blocks.1.up": 256}
        ),
        "decoder": lambda: Case(
            Decoder(), symbols, {"blocks.0.q": 2, "blocks.1.gate": 48, "blocks.0.out": 32}
        ),
        "vision": lambda: Case(Vision(), image, {"qkv": 4, "up": 96, "patches": 24}),
        "encoder": lambda: Case(
            Encoder(), torch.randn(2, 7, 5), {"into": 4, "encoder.layers.0.linear1": 48}
        ),
    }
    found = made[name]()
    for module in found.model.modules():  # as if trained
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return found


CASES = (
    "mlp", "lenet5", "resnet20", "bottlenecks", "vgg", "alexnet", "squeezenet", "mobile", "densely",
    "unet", "shuffled", "gpt", "bert", "decoder", "vision", "encoder",
)  # fmt: skip
