"""Rank pruning through the ReLU against plain SVD, at 0.2 points of accuracy.

python benchmarks/prune_ranks.py --mnist DIR --cifar10 IMAGES.tar.gz [--seeds 0 1 2] [--out DIR]

Each net is trained once per seed and kept in --out. The ranks are chosen on a validation part that
was not trained on, each image looked at in several augmentations, with a few hundred training
images to calibrate; the test set is used once, at the end.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.data.base import Dataset
from boildown.data.imagefolder import ImageFolder
from boildown.data.loader import TensorLoader
from boildown.data.mnist import MNIST
from boildown.lowrank.prune_ranks import prune_ranks
from boildown.models.lenet import LeNet5

TOLERANCE = 0.002  # of the validation error
RATE = 0.003
WAYS = (("plain", "default"), ("plain", "cheapest"), ("relu", "cheapest"))


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
    """VGG-11 with batch-norm as it is used on CIFAR-10, a quarter as wide: 16 to 128 channels.

    Source: Simonyan & Zisserman 2014, configuration A, https://arxiv.org/abs/1409.1556, with one
    linear layer: https://github.com/kuangliu/pytorch-cifar/blob/master/models/vgg.py
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for i, outputs in enumerate((16, 32, 64, 64, 128, 128, 128, 128), 1):
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
    "vgg11": (VGG11, "cifar10", 12),
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


def trained(model: nn.Module, data: Dataset, epochs: int, file: Path) -> None:
    """Train the model, or load it if that was done before."""
    if file.exists():
        model.load_state_dict(load_file(file))
        model.eval()
        return
    began = time.perf_counter()
    train(model, data, epochs, RATE)
    save_file(model.state_dict(), file)
    print(f"{file.stem}: trained in {time.perf_counter() - began:.0f} s", flush=True)


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


def spread(batches: list[tuple[Tensor, Tensor]], most: int | None) -> list[tuple[Tensor, Tensor]]:
    """So many batches at most, from all over: a data set may be sorted by class."""
    if most is None or most >= len(batches):
        return batches
    return [batches[i * len(batches) // most] for i in range(most)]


def study(net: str, root: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """All methods on one net; the parameters that each keeps."""
    build, of, epochs = NETS[net]
    data = (mnist if of == "mnist" else cifar10)(root, arguments.out, seed)
    data.prepare()
    torch.manual_seed(seed)
    model = build()
    trained(model, data, arguments.epochs or epochs, arguments.out / f"{net}-{seed}.safetensors")
    calibration = calibrating(data, arguments.samples, arguments.views)
    validation = data.val_dataloader()
    chosen = spread(list(validation), arguments.batches)
    again = augmented(data, validation)
    for _ in range(arguments.looks - 1):
        chosen += spread(list(again), arguments.batches)
    test = spread(list(data.test_dataloader()), arguments.batches)
    print(f"| {net} | {seed} | dense | | {error(model, chosen):.2%} | {error(model, test):.2%} | |")
    kept: dict[str, float] = {}
    for method, kinds in WAYS:
        began = time.perf_counter()
        result = prune_ranks(
            model,
            calibration,
            TOLERANCE,
            evaluate=lambda candidate: error(candidate, chosen),
            method=method,
            schemes=kinds,
            compare=False,
            samples=sum(map(len, calibration)),
            positions=arguments.positions,
            evaluations=arguments.evaluations,
            seed=seed,
        )
        seconds = time.perf_counter() - began
        way = f"{method}, {kinds} schemes"
        kept[way] = result.parameters
        ranks = ", ".join(f"{name} {rank}" for name, rank in result.ranks.items())
        print(
            f"| {net} | {seed} | {way} | {result.parameters} of {result.dense_parameters} | "
            f"{result.metric:.2%} | {error(result.model.eval(), test):.2%} | {seconds:.0f} s, "
            f"{len(result.path)} evaluations; {ranks} |",
            flush=True,
        )
    return kept


def main() -> None:
    """Run, then print a table; nets that are trained already are not trained again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", default=None, help="directory of the IDX files")
    parser.add_argument("--cifar10", default=None, help="directory or tar of images")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=500, help="training images to calibrate on")
    parser.add_argument("--views", type=int, default=8, help="augmentations of each of them")
    parser.add_argument("--positions", type=int, default=8, help="in each view, of a convolution")
    parser.add_argument(
        "--looks", type=int, default=4, help="at each validation image: as it is, then augmented"
    )
    parser.add_argument("--evaluations", type=int, default=40, help="networks that each way tries")
    parser.add_argument("--epochs", type=int, default=None, help="of training, to try things out")
    parser.add_argument("--batches", type=int, default=None, help="of images to evaluate on")
    parser.add_argument("--out", type=Path, default=Path("outputs/prune_ranks"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| net | seed | method | parameters | error, chosen on | test error | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for net in arguments.nets:
        root = getattr(arguments, NETS[net][1])
        if root is None:
            continue
        runs = [study(net, root, seed, arguments) for seed in arguments.seeds]
        ours = "relu, cheapest schemes"
        for way in (way for way in runs[0] if way != ours):
            fewer = [1.0 - run[ours] / run[way] for run in runs]
            print(
                f"| {net} | {len(runs)} seeds | {ours} | {statistics.mean(fewer):.1%} fewer than "
                f"{way} ({min(fewer):.1%} to {max(fewer):.1%}) | | | |",
                flush=True,
            )


if __name__ == "__main__":
    main()
