"""MNIST and Fashion-MNIST: 28x28 grey images in ten classes, 60000 to train and 10000 to test."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from boildown.data.augment import shift
from boildown.data.base import Dataset, Part, val_count
from boildown.data.cache import cache_dir
from boildown.data.download import fetch
from boildown.data.idx import read_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
TIMEOUT = 30.0  # seconds that a mirror may take to answer
AUGMENTS = (None, "shift")
MARGIN = 2  # pixels by which an image is shifted at most


class MNIST(Dataset):
    """Handwritten digits; inputs are float32 (1, 28, 28), standardised.

    The four IDX files, each gzipped or not, are looked for in `root`, `root/raw` and
    `root/MNIST/raw`; without `root`, in this machine's usual places. If they are in none, they are
    downloaded to the user's cache, once.

    Args:
        root: the directory that holds the files; None for the usual places.
        download: whether the files may be downloaded.
        augment: None, or "shift": in training, move each image by up to 2 pixels either way.
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there; of 60000.
        seed: see there; of the augmentation too.

    Raises:
        ValueError: for a value out of range, naming it.

    Source: LeCun et al. 1998, http://vision.stanford.edu/cs598_spring07/papers/Lecun98.pdf
    """

    NAME: ClassVar = "MNIST"
    MEAN: ClassVar = 0.1307  # of pixels in [0, 1]
    STD: ClassVar = 0.3081
    PLACES: ClassVar[tuple[str, ...]] = ()
    MIRRORS: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    CHECKSUMS: ClassVar[tuple[str, ...]] = (  # of the gzipped FILES
        "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "md5:9fb629c4189551a2d022fa330f9573f3",
        "md5:ec29112dd5afa0611ce80d1b7f02629c",
    )
    CLASSES: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(
        self,
        *,
        root: str | Path | None,
        download: bool,
        batch_size: int,
        eval_batch_size: int,
        val_size: int | float,
        seed: int,
        augment: str | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        if augment not in AUGMENTS:
            raise ValueError(f"data.augment must be null or shift, got {augment!r}")
        if augment == "shift":
            self.transform = self._shift
        val_count(val_size, 60000)
        self.root = None if root is None else Path(root).expanduser()
        self.download = download
        self.input_shape = (1, 28, 28)
        self._classes = list(self.CLASSES)

    def _read(self) -> tuple[Part, Part]:
        paths = self._locate()
        return self._part(paths[0], paths[1], 60000), self._part(paths[2], paths[3], 10000)

    def _part(self, images: Path, labels: Path, count: int) -> Part:
        pixels, classes = read_idx(images), read_idx(labels)
        for path, found, expected in (
            (images, pixels.shape, (count, 28, 28)),
            (labels, classes.shape, (count,)),
        ):
            if found != expected:
                raise ValueError(f"{path}: expected shape {expected}, got {found}")
        if classes.max() > 9:
            raise ValueError(f"{labels}: expected labels 0 to 9, got {classes.max()}")
        scale, shift = 1 / (255 * self.STD), self.MEAN / self.STD
        inputs = torch.from_numpy(pixels.astype(np.float32)).mul_(scale).sub_(shift)
        return Part(inputs.unsqueeze(1), torch.from_numpy(classes.astype(np.int64)))

    def _shift(self, inputs: Tensor, g: torch.Generator) -> Tensor:
        return shift(inputs, MARGIN, g, fill=-self.MEAN / self.STD)

    def _locate(self) -> list[Path]:
        """The four files, in the order of FILES."""
        roots = [Path(place) for place in self.PLACES] if self.root is None else [self.root]
        cache = cache_dir() / self.NAME.lower()
        for folder in [*roots, cache] if self.root is None or self.download else roots:
            if paths := _complete(folder):
                return paths
        where = (
            f"root={self.root}" if self.root is not None else f"{[*map(str, roots), str(cache)]}"
        )
        problem = (
            f"{self.NAME}: no {', '.join(FILES)} (each with or without .gz) in {where}"
            if self.root is None or self.root.is_dir()
            else f"{self.NAME}: {where} is not a directory; looked in it for {', '.join(FILES)}"
        )
        if not self.download:
            raise FileNotFoundError(
                f"{problem}; set data.root to the directory that holds them, or data.download=true"
            )
        try:
            return [
                fetch(
                    [f"{mirror}{name}.gz" for mirror in self.MIRRORS],
                    cache / f"{name}.gz",
                    checksum=checksum,
                    timeout=TIMEOUT,
                )
                for name, checksum in zip(FILES, self.CHECKSUMS, strict=True)
            ]
        except OSError as error:
            raise FileNotFoundError(
                f"{problem}; set data.root to the directory that holds them ({error})"
            ) from error


class FashionMNIST(MNIST):
    """Pictures of clothes in the format of MNIST, and harder; see `MNIST` for the arguments.

    Debian's package dataset-fashion-mnist is one of the usual places.

    Source: Xiao et al. 2017, https://arxiv.org/abs/1708.07747
    """

    NAME: ClassVar = "FashionMNIST"
    MEAN: ClassVar = 0.2860
    STD: ClassVar = 0.3530
    PLACES: ClassVar[tuple[str, ...]] = ("/usr/share/datasets/fashion-mnist",)
    MIRRORS: ClassVar[tuple[str, ...]] = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    CHECKSUMS: ClassVar[tuple[str, ...]] = (
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "md5:25c81989df183df01b3e8a0aad5dffbe",
        "md5:bef4ecab320f06d8554ea6380940ec79",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
    )
    CLASSES: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )


def _complete(root: Path) -> list[Path] | None:
    """All four files in one of the folders of `root` they are commonly found in."""
    for folder in (root, root / "raw", root / "MNIST" / "raw", root / "FashionMNIST" / "raw"):
        found = [
            next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
            for name in FILES
        ]
        paths = [path for path in found if path is not None]
        if len(paths) == len(FILES):
            return paths
    return None
