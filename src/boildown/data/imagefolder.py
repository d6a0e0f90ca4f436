"""Any set of images kept as one folder per class, in a directory or in a tar."""

from pathlib import Path

import torch
from torch import Tensor

from boildown.data.augment import crop_flip
from boildown.data.base import Dataset, Part
from boildown.data.cache import cache_dir
from boildown.data.decode import BYTES_MOST, MEMBERS_MOST, PIXELS_MOST, decode

AUGMENTS = (None, "crop_flip")
MARGIN = 4  # pixels of padding, from which a random window is cut


class ImageFolder(Dataset):
    """Images in train/<class>/ and test/<class>/, decoded once and mapped from disk.

    Inputs are float32 (3, size, size), each channel standardised with the mean and deviation of
    the training images. Without a test/ folder, val/ is the test part; with one, val/ is not
    looked at. See `boildown.data.decode.decode` for what becomes of images of other sizes.

    Args:
        root: the directory, or a tar of it, compressed or not; a tar is never unpacked.
        size: pixels of both sides.
        augment: None, or "crop_flip": in training, pad by 4 black pixels, cut out at random, and
            mirror half of the images.
        cache: where decoded images are kept, 3 size^2 bytes each; None for the user's cache.
        pixels_most: the most pixels an image may have; more are refused before it is decoded.
        bytes_most: the most bytes an image's file may have.
        members_most: the most members a tar may have.
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there.
        seed: see there; of the augmentation too.

    Raises:
        ValueError: for a value out of range, naming it.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        size: int,
        augment: str | None,
        cache: str | Path | None,
        batch_size: int,
        eval_batch_size: int,
        val_size: int | float,
        seed: int,
        pixels_most: int = PIXELS_MOST,
        bytes_most: int = BYTES_MOST,
        members_most: int = MEMBERS_MOST,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"size must be a whole number of pixels, at least 1, got {size!r}")
        if augment not in AUGMENTS:
            raise ValueError(f"augment must be null or crop_flip, got {augment!r}")
        self.root = Path(root).expanduser()
        self.size = size
        self.pixels_most, self.bytes_most = pixels_most, bytes_most
        self.members_most = members_most
        self.augment = augment
        self.cache = cache_dir() / "images" if cache is None else Path(cache).expanduser()
        self.input_shape = (3, size, size)

    def _read(self) -> tuple[Part, Part]:
        images = decode(
            self.root,
            self.size,
            self.cache,
            pixels_most=self.pixels_most,
            bytes_most=self.bytes_most,
            members_most=self.members_most,
        )
        self._classes = images.classes
        mean = torch.tensor(images.mean).view(3, 1, 1)
        std = torch.tensor(images.std).view(3, 1, 1)

        def standardise(x: Tensor, _: torch.Generator) -> Tensor:
            return x.float().sub_(mean).div_(std)

        def augmented(x: Tensor, g: torch.Generator) -> Tensor:
            return standardise(crop_flip(x, MARGIN, g), g)

        self.eval_transform = standardise
        self.transform = augmented if self.augment == "crop_flip" else standardise
        return (
            Part(images.train, torch.from_numpy(images.train_targets)),
            Part(images.test, torch.from_numpy(images.test_targets)),
        )
