"""Tensors that the mixing coder once got wrong: each comes back bit for bit, from every coder."""

import pytest
import torch
from states import assert_same
from torch import Tensor

from boildown import codec

CODERS = ("best", "fast", "huffman")
NAN = torch.tensor([0.0, 1.0, float("nan"), float("inf"), -0.0])


def sparse_doubles() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, dtype=torch.float64, generator=generator)
    picked = values[torch.randint(0, 3, (600,), generator=generator)]
    return torch.where(torch.rand(600, generator=generator) < 0.1, picked, 0.0).reshape(30, 20)


ODD = {
    "bytes of mantissas that are all one byte": {
        "sparse": sparse_doubles(),
        "constant": torch.full((700,), 1.2345678e40, dtype=torch.float64),
    },
    "few doubles beyond what a number holds": {
        "w": torch.tensor([1e300, -2e-300, 3.0], dtype=torch.float64).repeat(99)
    },
    "few large integers": {"w": torch.tensor([-(2**63), 2**63 - 1, 5]).repeat(99)},
    "the largest exponents beside zeros": {
        "half": NAN.half().repeat(40),
        "bfloat": NAN.bfloat16().repeat(40),
        "single": torch.cat([NAN, torch.randn(2000)]),
    },
}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("name", ODD)
def test_it_comes_back(name: str, coder: str) -> None:
    state = ODD[name]
    data = codec.encode(state, coder=coder)
    assert_same(codec.decode(data)[0], state)
    assert codec.estimate(state, coder=coder) == len(data)


@pytest.mark.parametrize("coder", CODERS)
def test_a_bool_is_0_or_1_whatever_byte_it_is_in_memory(coder: str) -> None:
    mask = torch.tensor([2, 0, 255, 1], dtype=torch.uint8).view(torch.bool).repeat(50)
    state, whole = {"mask": mask}, {"mask": mask.logical_not().logical_not()}
    data = codec.encode(state, coder=coder)
    assert_same(codec.decode(data)[0], whole)
    assert data == codec.encode(whole, coder=coder)
    with_base = codec.encode(state, base=state)
    assert_same(codec.decode(with_base, base=whole)[0], whole)


def test_a_base_of_complex_numbers_and_of_tensors_that_are_shorter_without_it() -> None:
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(-9, 9, (50, 70), generator=generator) / 4
    base = {"c": torch.randn(20, 9, dtype=torch.complex64, generator=generator), "s": steps}
    state = {"c": base["c"] * (1 + 2**-20), "s": steps.roll(1, 0)}
    back, _ = codec.decode(codec.encode(state, coder="best", base=base), base=base)
    assert_same(back, state)
