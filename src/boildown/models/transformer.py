"""Small transformers over bytes: GPT, which reads forwards, and BERT, which reads both ways."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 32  # channels of a head, unless the number of heads is given
EMBEDDING = 0.1  # initial deviation; on bytes this learns faster than GPT-2's 0.02


class Block(nn.Module):
    """Attention and a multilayer perceptron, each behind a norm and beside a shortcut.

    Args:
        width: channels.
        heads: attention heads, a divisor of `width`.
        causal: whether a position sees only itself and what comes before.
        dropout: probability of dropping a channel of what either adds to the shortcut.
    """

    def __init__(self, width: int, heads: int, *, causal: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, width)."""
        batch, length, _ = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.drop(self.out(seen.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))
        return out


class Transformer(nn.Module):
    """Embeddings, blocks, a norm and an output layer; what `GPT` and `BERT` have in common.

    Linear layers and norms have no biases. With the default number of heads their size does not
    change with the width, and neither does the best scale of attention's scores.

    Args:
        input_shape: (context,), the most symbols it can read at once.
        num_classes: symbols it predicts, and reads.
        width: channels.
        depth: blocks.
        heads: attention heads; None is the most that leave each 32 channels or more and divide
            `width`.
        tied: whether the output layer is the embedding, one tensor under two names.
        dropout: probability of dropping a channel of the embedding and of what a block adds, in
            [0, 1).

    Raises:
        ValueError: for a shape or a size that does not fit, naming it.

    Source: Radford et al. 2019 (pre-norm blocks, outputs of residual branches scaled by
    1/sqrt(2 depth)), https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
    """

    causal: ClassVar[bool]
    objective: ClassVar[str]
    extra: ClassVar[int] = 0  # symbols it reads but does not predict

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        width: int,
        depth: int,
        heads: int | None,
        tied: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        shape = tuple(input_shape)
        if len(shape) != 1 or shape[0] < 1:
            raise ValueError(
                f"{name} needs windows of symbols (context,), got input_shape {shape}; "
                "data=text has them"
            )
        if min(width, depth, num_classes) < 1:
            raise ValueError(
                "width, depth and num_classes must be at least 1, "
                f"got {width}, {depth} and {num_classes}"
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if heads is None:
            heads = heads_for(width)
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        symbols = num_classes + self.extra
        self.num_classes = num_classes
        self.embed = nn.Embedding(symbols, width)
        self.position = nn.Embedding(shape[0], width)
        blocks = [Block(width, heads, causal=self.causal, dropout=dropout) for _ in range(depth)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, symbols if tied else num_classes, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.drop = nn.Dropout(dropout)
        for embedding in (self.embed, self.position):
            nn.init.normal_(embedding.weight, std=EMBEDDING)
        with torch.no_grad():
            for branch in (layer for block in blocks for layer in (block.out, block.down)):
                branch.weight.div_(math.sqrt(2 * depth))

    def forward(self, symbols: Tensor) -> Tensor:
        """Logits (B, T, num_classes) of symbols (B, T) int64, T at most the context."""
        positions = torch.arange(symbols.shape[1], device=symbols.device)
        x = self.drop(self.embed(symbols) + self.position(positions))
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits[..., : self.num_classes]


class GPT(Transformer):
    """A decoder-only transformer: each position predicts the next symbol from those before it.

    See `Transformer` for its arguments.
    """

    causal = True
    objective = "causal"


class BERT(Transformer):
    """The same blocks reading both ways: it guesses the symbols that were hidden from it.

    It reads one symbol more than it predicts, number `num_classes`, which hides another. See
    `Transformer` for its arguments.

    Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805
    """

    causal = False
    objective = "masked"
    extra = 1


def heads_for(width: int) -> int:
    """The most heads that have 32 channels or more each and divide `width`; at least 1.

    >>> [heads_for(width) for width in (16, 64, 80, 112, 256)]
    [1, 2, 2, 2, 8]
    """
    return next(heads for heads in range(max(1, width // HEAD), 0, -1) if width % heads == 0)
