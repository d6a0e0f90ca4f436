"""boildown.data.augment: what may come out, and that evaluation is spared."""

from typing import Any

import torch
from torch.nn.functional import pad

from boildown.data.augment import crop_flip, shift
from boildown.data.base import Part
from boildown.data.mnist import MNIST
from boildown.seeds import generator


class Small(MNIST):
    """Noise in the shape of MNIST."""

    def __init__(self, **changes: Any) -> None:
        fixed = {"root": None, "download": False, "val_size": 5, "seed": 0}
        super().__init__(batch_size=8, eval_batch_size=8, **(fixed | changes))

    def _read(self) -> tuple[Part, Part]:
        part = Part(torch.rand(30, 1, 28, 28, generator=generator(0)), torch.arange(30) % 10)
        return part, part


def test_crop_flip_shifts_and_mirrors() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 4, 4)
    padded = pad(image, (1, 1, 1, 1))[0, 0]
    possible = {
        (top, left, flip): (crop.flip(1) if flip else crop)
        for top in range(3)
        for left in range(3)
        for flip in (False, True)
        for crop in [padded[top : top + 4, left : left + 4]]
    }
    out = crop_flip(image.expand(500, 1, 4, 4), 1, generator(0))
    assert (out.dtype, out.shape) == (torch.uint8, (500, 1, 4, 4))
    seen = [key for x in out for key, p in possible.items() if torch.equal(x[0], p)]
    assert len(seen) == 500
    assert set(seen) == set(possible)
    assert 200 < sum(flip for *_, flip in seen) < 300


def test_shift_moves_by_the_margin_and_fills() -> None:
    image = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    padded = pad(image, (2, 2, 2, 2), value=-3.0)[0, 0]
    windows = [padded[top : top + 4, left : left + 4] for top in range(5) for left in range(5)]
    out = shift(image.expand(600, 1, 4, 4), 2, generator(0), fill=-3.0)
    which = [i for x in out for i, window in enumerate(windows) if torch.equal(x[0], window)]
    assert len(which) == 600
    assert set(which) == set(range(25))


def test_mnist_shifts_in_training_alone() -> None:
    data = Small(augment="shift")
    plain = Small(augment=None)
    assert torch.equal(*(next(iter(d.val_dataloader()))[0] for d in (data, plain)))
    first, again = (next(iter(data.train_dataloader()))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, next(iter(plain.train_dataloader()))[0])
