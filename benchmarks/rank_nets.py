"""Networks and data for the benchmarks of rank pruning: trained once per seed, then kept."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.data.base import Dataset
from boildown.data.imagefolder import ImageFolder
from boildown.data.loader import TensorLoader
from boildown.data.mnist import MNIST
from boildown.lowrank.fitted_layer import Method
from boildown.lowrank.studied import Schemes
from boildown.models.lenet import LeNet5

RATE = 0.003
TOLERANCE = 0.002  # of the validation error
WAYS: dict[str, tuple[Method, Schemes, bool]] = {
    "plain-default": ("plain", "default", False),
    "plain-cheapest": ("plain", "cheapest", False),
    "relu-default": ("relu", "default", False),
    "relu-cheapest": ("relu", "cheapest", False),
    "relu-outputs": ("relu", "cheapest", True),
}
"""Way to lower the ranks -> how the layers are solved, the schemes a convolution may take, and
whether whole outputs may go too."""


class KerasCNN(nn.Module):
    """The network of Keras's CIFAR-10 example: four convolutions, 512 hidden units, dropout.

    Source: https://github.com/keras-team/keras/blob/2.3.1/examples/cifar10_cnn.py
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 3)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.fc5 = nn.Linear(64 * 6 * 6, 512)
        self.fc6 = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        x = F.dropout(x, 0.25, self.training)
        x = F.max_pool2d(self.conv4(self.conv3(x).relu()).relu(), 2)
        x = F.dropout(x, 0.25, self.training).flatten(1)
        x = F.dropout(self.fc5(x).relu(), 0.5, self.training)
        logits: Tensor = self.fc6(x)
        return logits


class TutorialCNN(nn.Module):
    """The network of TensorFlow's tutorial on CIFAR-10: three convolutions, 64 hidden units.

    Source: https://www.tensorflow.org/tutorials/images/cnn
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.fc4 = nn.Linear(64 * 4 * 4, 64)
        self.fc5 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        x = self.fc4(self.conv3(x).relu().flatten(1)).relu()
        logits: Tensor = self.fc5(x)
        return logits


class VGG11(nn.Module):
    """VGG-11 with batch-norm as it is used on CIFAR-10, but narrower.

    Its convolutions have `width` to 8 `width` outputs; the original's 64 to 512.

    Source: Simonyan & Zisserman 2014, configuration A, https://arxiv.org/abs/1409.1556, with one
    linear layer: https://github.com/kuangliu/pytorch-cifar/blob/master/models/vgg.py
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 3
        for i, times in enumerate((1, 2, 4, 4, 8, 8, 8, 8), 1):
            outputs = times * width
            self.add_module(f"conv{i}", nn.Conv2d(channels, outputs, 3, padding=1))
            self.add_module(f"norm{i}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.fc9 = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 9):
            x = self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(x)).relu()
            if i in (1, 2, 4, 6, 8):
                x = F.max_pool2d(x, 2)
        logits: Tensor = self.fc9(x.flatten(1))
        return logits


def mnist(root: str, out: Path, seed: int) -> Dataset:
    return MNIST(
        root=root,
        download=False,
        augment="shift",
        batch_size=128,
        eval_batch_size=1000,
        val_size=10000,
        seed=seed,
    )


def cifar10(root: str, out: Path, seed: int) -> Dataset:
    return ImageFolder(
        root=root,
        size=32,
        augment="crop_flip",
        cache=out / "images",
        batch_size=128,
        eval_batch_size=500,
        val_size=10000,
        seed=seed,
    )


NETS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "lenet5": (lambda: LeNet5((1, 28, 28), 10), "mnist", 6),
    "keras_cnn": (KerasCNN, "cifar10", 12),
    "tutorial_cnn": (TutorialCNN, "cifar10", 12),
    "vgg11": (lambda: VGG11(16), "cifar10", 12),
    "vgg11_half": (lambda: VGG11(32), "cifar10", 12),
}
"""Net -> how it is built, the data set, the epochs of training."""


def train(model: nn.Module, data: Dataset, epochs: int, rate: float) -> None:
    """AdamW with one cycle of the learning rate."""
    loader = data.train_dataloader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.inference_mode()
def error(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Fraction of wrong answers."""
    wrong = sum(int((model(x).argmax(1) != y).sum()) for x, y in batches)
    return wrong / sum(len(y) for _, y in batches)


def prepared(
    net: str, root: str, seed: int, out: Path, epochs: int | None = None
) -> tuple[nn.Module, Dataset]:
    """A net and its data; the net trained, or loaded from `out` if that was done before."""
    build, kind, usual = NETS[net]
    data = (mnist if kind == "mnist" else cifar10)(root, out, seed)
    data.prepare()
    torch.manual_seed(seed)
    model = build()
    file = out / f"{net}-{seed}.safetensors"
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval(), data
    began = time.perf_counter()
    train(model, data, epochs or usual, RATE)
    save_file(model.state_dict(), file)
    print(f"{file.stem}: trained in {time.perf_counter() - began:.0f} s", flush=True)
    return model, data


def augmented(data: Dataset, loader: TensorLoader, rows: Tensor | None = None) -> TensorLoader:
    """Images of a loader, all or some, each time augmented anew as in training."""
    return TensorLoader(
        loader.inputs,
        loader.targets,
        250,
        shuffle=False,
        seed=0,
        drop_last=False,
        transform=data.train_dataloader().transform,
        subset=loader.subset if rows is None else rows,
    )


def calibrating(data: Dataset, samples: int, views: int) -> list[Tensor]:
    """Some training images, each augmented in several ways."""
    train = data.train_dataloader()
    assert train.subset is not None
    order = torch.randperm(len(train.subset), generator=torch.Generator().manual_seed(0))
    some = augmented(data, train, train.subset[order[:samples]])
    return [inputs for _ in range(views) for inputs, _ in some]


def options(description: str | None, views: int, positions: int) -> argparse.ArgumentParser:
    """The options of a script that looks at one net."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--root", required=True, help="of the images")
    parser.add_argument("--samples", type=int, default=500, help="training images to calibrate on")
    parser.add_argument("--views", type=int, default=views, help="augmentations of each of them")
    parser.add_argument(
        "--positions", type=int, default=positions, help="in each view, of a convolution"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/prune_ranks"))
    return parser


def compared(ways: Sequence[str]) -> list[tuple[str, str]]:
    """Every way through the ReLU with every plain one."""
    plain = [way for way in ways if WAYS[way][0] == "plain"]
    return [(way, one) for way in ways if way not in plain for one in plain]
