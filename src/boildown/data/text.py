"""Any text file, byte by byte: 256 symbols, no tokenizer."""

import sysconfig
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from boildown.data.base import check_seed, check_whole
from boildown.data.loader import MASK, Loader, TensorLoader
from boildown.seeds import generator

SYMBOLS = 256
IGNORE = -100  # target of a position that does not count, as in torch's cross_entropy
MASK_SYMBOL = SYMBOLS  # BERT's [MASK], an input symbol only
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
LIMIT = 2**20  # bytes read of the standard library
FIRST = b"\n"  # is put before the first byte of a part, so that this byte is predicted too

Objective = Literal["causal", "masked"]


class Text:
    """The bytes of a text, cut into a train, a validation and a test part, one after the other.

    Batches are (inputs, targets), both (B, context) int64. Causal: the target of each position is
    the next byte; a part reads as if a newline came before it, so that its first byte is predicted
    too. Masked: see `mask`; the targets of all other positions are -100.

    Training windows begin anywhere in the training part, one in each stretch of `context` bytes, in
    random order, so that an epoch reads about as many bytes as there are. The windows of the other
    two parts lie side by side, and every byte counts once; where the last would run over the end,
    it begins earlier, and what counted before has the target -100. No window lies in two parts.

    Args:
        path: of the file; None reads the Python standard library, the top-level modules of the
            running interpreter in order of their names, up to `LIMIT` bytes.
        context: bytes in a window.
        objective: "causal" or "masked".
        val_size: fraction of the bytes for validation.
        test_size: fraction of the bytes for testing, at the end of the text.
        batch_size: windows per training batch and rank.
        eval_batch_size: the same for validation and test.
        seed: of the order, the offsets and the masks; not negative.

    Attributes:
        input_shape: (context,).
        num_classes: 256.

    Raises:
        ValueError: for a value out of range, naming it; in `prepare` for a text too short.
        FileNotFoundError: in `prepare`, if there is no such file.
    """

    def __init__(
        self,
        *,
        path: str | Path | None,
        context: int,
        objective: Objective,
        val_size: float,
        test_size: float,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
    ) -> None:
        check_whole(context=context, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_seed(seed)
        for key, size in (("val_size", val_size), ("test_size", test_size)):
            if not isinstance(size, float) or not 0.0 < size < 1.0:
                raise ValueError(f"{key} must be a fraction of the text in (0, 1), got {size!r}")
        if val_size + test_size >= 1.0:
            raise ValueError(
                f"val_size={val_size} and test_size={test_size} leave nothing to train on"
            )
        if objective not in ("causal", "masked"):
            raise ValueError(f"objective must be causal or masked, got {objective!r}")
        self.path = None if path is None else Path(path)
        self.context, self.objective = context, objective
        self.val_size, self.test_size = val_size, test_size
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.input_shape = (context,)
        self.num_classes = SYMBOLS
        self._parts: dict[str, Tensor] = {}

    def prepare(self) -> None:
        """Read the text and cut it. A second call does nothing."""
        if not self._parts:
            text = standard_library(LIMIT) if self.path is None else read_bytes(self.path)
            val, test = (round(size * len(text)) for size in (self.val_size, self.test_size))
            train = len(text) - val - test
            cuts = {"train": (0, train), "val": (train, train + val), "test": (train + val, None)}
            parts = {name: text[slice(*cut)] for name, cut in cuts.items()}
            for name, part in parts.items():
                if len(part) < self.context:
                    raise ValueError(
                        f"data.path={self.path}: too short, the {name} part has {len(part)} of its "
                        f"{len(text)} bytes and data.context={self.context} needs as many; "
                        "give a longer text, a shorter context or a larger part"
                    )
            self._parts = {
                name: torch.frombuffer(bytearray(FIRST + part), dtype=torch.uint8)
                for name, part in parts.items()
            }

    def train_dataloader(self) -> Loader:
        """A new loader, at the start of epoch 0."""
        self.prepare()
        return WindowLoader(
            self._parts["train"],
            self.context,
            self.batch_size,
            masked=self.objective == "masked",
            seed=self.seed,
        )

    def val_dataloader(self) -> Loader:
        """A new loader over the validation part, in order, its masks fixed by the seed."""
        return self._evaluation("val", 0)

    def test_dataloader(self) -> Loader:
        """A new loader over the test part, in order, its masks fixed by the seed."""
        return self._evaluation("test", 1)

    def _evaluation(self, name: str, number: int) -> Loader:
        self.prepare()
        text = self._parts[name]
        count = -(-(len(text) - 1) // self.context)
        starts = torch.arange(count) * self.context
        last = len(text) - 1 - self.context
        again = int(starts[-1]) - last  # bytes of the last window that counted before
        starts[-1] = last
        inputs, targets = windows(text, starts, self.context)
        if self.objective == "masked":
            inputs, targets = mask(targets, generator(self.seed, MASK, number))
        targets[-1, :again] = IGNORE
        return TensorLoader(
            inputs, targets, self.eval_batch_size, shuffle=False, seed=self.seed, drop_last=False
        )


class WindowLoader(Loader):
    """Random windows of a text, one from each stretch of `context` bytes, in random order.

    Args:
        text: (N + 1,) uint8, N >= context.
        context: bytes in a window.
        batch_size: see `Loader`.
        masked: hide bytes, see `mask`; otherwise the targets are the next bytes.
        seed: see `Loader`; the offsets and the masks of a batch depend on it, the epoch, the batch
            and the rank.
    """

    def __init__(
        self, text: Tensor, context: int, batch_size: int, *, masked: bool, seed: int
    ) -> None:
        count = (len(text) - 1) // context
        super().__init__(count, batch_size, shuffle=True, seed=seed, drop_last=True)
        self.text, self.context, self.masked = text, context, masked

    def _pick(self, index: slice | Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        g = generator(*key)
        stretch = torch.arange(self.samples)[index].double()
        places = len(self.text) - self.context  # windows there are
        where = (
            stretch + torch.rand(len(stretch), generator=g, dtype=torch.float64)
        ) / self.samples
        starts = (where * places).long().clamp_(max=places - 1)
        inputs, targets = windows(self.text, starts, self.context)
        return mask(targets, g) if self.masked else (inputs, targets)


def windows(text: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Windows of a text, and each one's next bytes.

    Args:
        text: (N + 1,) uint8.
        starts: (B,) int64, each from 0 to N - context.
        context: bytes in a window.

    Returns:
        Two int64 tensors (B, context), the second one byte ahead of the first.
    """
    index = starts[:, None] + torch.arange(context + 1)
    found = text[index].long()
    return found[:, :-1].contiguous(), found[:, 1:].contiguous()


def mask(text: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide bytes that a bidirectional model is to guess.

    15 % of the positions of each window are chosen, at least one; of these 80 % become the mask
    symbol 256, 10 % a random byte, and 10 % stay.

    Args:
        text: (B, T) int64 bytes; read only.
        g: where the randomness comes from.

    Returns:
        inputs (B, T), and targets (B, T), the byte at the chosen positions and -100 elsewhere.

    Source: Devlin et al. 2018, section 3.1, https://arxiv.org/abs/1810.04805
    """
    count, length = text.shape
    chosen = max(1, round(CHOSEN * length))
    where = torch.rand(count, length, generator=g).argsort(1)[:, :chosen]
    truth = text.gather(1, where)
    fate = torch.rand(where.shape, generator=g)
    guess = torch.randint(0, SYMBOLS, where.shape, generator=g)
    shown = torch.where(fate < MASKED + REPLACED, guess, truth)
    shown = torch.where(fate < MASKED, MASK_SYMBOL, shown)
    return text.scatter(1, where, shown), torch.full_like(text, IGNORE).scatter(1, where, truth)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError: if it is not there or no file.
        ValueError: if it is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"data.path={path} is no file; data.path=null reads Python's own sources"
        )
    text = path.read_bytes()
    if not text:
        raise ValueError(f"data.path={path} is an empty file")
    return text


def standard_library(limit: int) -> bytes:
    """The first `limit` bytes of the running interpreter's top-level modules, in order of names.

    Raises:
        FileNotFoundError: for an interpreter that comes without sources.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    text = b""
    for path in sorted(folder.glob("*.py")):
        text += path.read_bytes()
        if len(text) >= limit:
            return text[:limit]
    if not text:
        raise FileNotFoundError(f"no Python sources in {folder}; give a text with data.path=FILE")
    return text
