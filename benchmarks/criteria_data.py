"""The images that criteria of pruning are compared on, whole on the device that computes."""

import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad

from boildown.data.loader import Resumable
from boildown.data.mnist import MNIST
from boildown.seeds import generator

VAL = 5000  # training images, the last, on which choices are made
AT_ONCE = 1000  # images that are judged together
MARGIN = 4  # pixels by which a training image is shifted at most
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)  # of CIFAR-10's channels
GREY = 121  # what comes in from outside a shifted image
Part = tuple[Tensor, Tensor]  # inputs, classes


class Batches(Resumable):
    """Shuffled batches that never leave their device; an epoch is augmented at once."""

    def __init__(self, data: "Data", batch_size: int, seed: int) -> None:
        super().__init__(batch_size)
        self.data, self.seed = data, seed

    def __len__(self) -> int:
        return len(self.data.train[1]) // self.batch_size

    def _read(self, epoch: int, first: int) -> Iterator[Part]:
        inputs, targets = self.data.train
        drawn = torch.randint(2**62, (), generator=generator(self.seed, epoch))
        g = torch.Generator(inputs.device).manual_seed(int(drawn))
        order = torch.randperm(len(targets), generator=g, device=inputs.device)
        order = order[: len(self) * self.batch_size]
        images, classes = inputs[order], targets[order]
        if self.data.is_coloured:
            images = standardised(moved(images, g))
        for batch in range(first, len(self)):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield images[part], classes[part]


class Data:
    """Training, validation and test images of a set.

    Args:
        train: inputs, as bytes if they have colours, and classes.
        test: likewise.
        device: where they are kept.
        most: images of each part at most; None for all.
    """

    def __init__(self, train: Part, test: Part, device: str, most: int | None) -> None:
        self.is_coloured = train[0].dtype == torch.uint8
        inputs, targets = train
        own = slice(0, min(len(targets) - VAL, most or len(targets)))
        self.train = inputs[own].to(device), targets[own].to(device)
        self.val = self._judged((inputs[-VAL:][:most], targets[-VAL:][:most]), device)
        self.test = self._judged((test[0][:most], test[1][:most]), device)

    def _judged(self, part: Part, device: str) -> Part:
        inputs, targets = part[0].to(device), part[1].to(device)
        return (standardised(inputs) if self.is_coloured else inputs), targets

    def loader(self, batch_size: int, seed: int) -> Batches:
        return Batches(self, batch_size, seed)

    def calibration(self, samples: int, batch_size: int) -> list[Part]:
        """The first training images, as they are."""
        inputs, targets = (part[:samples] for part in self.train)
        if self.is_coloured:
            inputs = standardised(inputs)
        return list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))


@torch.no_grad()
def error(net: nn.Module, part: Part) -> float:
    """Of a network in evaluation mode, in %."""
    wrong = [
        (net(inputs).argmax(1) != targets).sum()
        for inputs, targets in zip(*(each.split(AT_ONCE) for each in part), strict=True)
    ]
    return 100.0 * int(torch.stack(wrong).sum()) / len(part[1])


def moved(images: Tensor, g: torch.Generator) -> Tensor:
    """Each image of bytes (N, 3, H, W) shifted by up to 4 pixels, and half of them mirrored."""
    count, _, height, width = images.shape
    where, device = {"generator": g, "device": images.device}, images.device
    top, left = torch.randint(0, 2 * MARGIN + 1, (2, count, 1), **where)
    flip = torch.rand(count, 1, **where) < 0.5
    across = torch.arange(width, device=device).expand(count, width)
    rows = top + torch.arange(height, device=device)
    columns = left + torch.where(flip, across.flip(1), across)
    every = torch.arange(count, device=device)[:, None, None]
    padded = pad(images, (MARGIN,) * 4, value=GREY)
    return padded[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def standardised(images: Tensor) -> Tensor:
    """Floats of bytes (N, 3, H, W), channels last."""
    made = images.float().contiguous(memory_format=torch.channels_last)
    mean, std = (torch.tensor(each, device=images.device)[:, None, None] for each in (MEAN, STD))
    return made.sub_(mean).div_(std)


def mnist(root: str, device: str, most: int | None) -> Data:
    """MNIST, from its four files."""
    read = MNIST(
        root=root, download=False, batch_size=128, eval_batch_size=1000, val_size=VAL, seed=0
    )._read()
    train, test = ((part.inputs, part.targets) for part in read)
    return Data(train, test, device, most)


def cifar(decoded: Path, device: str, most: int | None) -> Data:
    """CIFAR-10, from the file that `decode` has written."""
    kept = torch.load(decoded, weights_only=True)
    train, test = ((kept[f"{name} images"], kept[f"{name} classes"]) for name in ("train", "test"))
    return Data(train, test, device, most)


def decode(archive: Path, decoded: Path) -> None:
    """Write the images of an archive, {train,test}/CLASS/NUMBER.jpg, as bytes.

    The classes take turns, so that any stretch of the images holds them all alike.
    """
    found: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts, file = member.name.split("/")[-3:], tar.extractfile(member)
            if file is not None and len(parts) == 3 and parts[0] in found:
                found[parts[0]].append((parts[2], parts[1], file.read()))
    kept = {}
    for name, files in found.items():
        files.sort(key=lambda each: each[:2])
        classes = sorted({each[1] for each in files})
        with ThreadPoolExecutor() as pool:
            images = np.stack(list(pool.map(_pixels, [each[2] for each in files], chunksize=256)))
        kept[f"{name} images"] = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        kept[f"{name} classes"] = torch.tensor([classes.index(each[1]) for each in files])
    part = decoded.with_suffix(".part")
    torch.save(kept, part)
    part.replace(decoded)


def _pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
