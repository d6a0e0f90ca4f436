"""boildown.lowrank.tucker against numpy's HOSVD."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.lowrank.svd import decompose
from boildown.lowrank.tucker import Tucker, squared_errors, tucker2


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 3), st.integers(0, 99))
def test_tucker_is_exact_where_it_can_be_and_no_worse_than_hosvd(
    m: int, c: int, k: int, seed: int
) -> None:
    made = torch.Generator().manual_seed(seed)
    weight = torch.randn(m, c, k, k, generator=made, dtype=torch.float64)
    table = squared_errors(weight)
    wide = weight.flatten(2).numpy()
    u = np.linalg.svd(wide.reshape(m, -1))[0]
    v = np.linalg.svd(wide.transpose(1, 0, 2).reshape(c, -1))[0]
    core = np.einsum("ocx,oa,cb->abx", wide, u, v)
    for ranks in itertools.product(range(1, m + 1), range(1, c + 1)):
        kept = (core[: ranks[0], : ranks[1]] ** 2).sum()
        hosvd = float(table[ranks])
        if min(m, c * k * k) == m and min(c, m * k * k) == c:
            assert hosvd == pytest.approx((core**2).sum() - kept, rel=1e-6, abs=1e-9)
        lost = float((weight - tucker2(weight, ranks).product()).square().sum())
        assert lost <= hosvd * (1 + 1e-9) + 1e-12
        best_out = float(decompose(weight.flatten(1)).tails()[: ranks[0] + 1][-1])
        assert lost >= best_out * (1 - 1e-9) - 1e-12
    small = Tucker(weight[:, :2, 0, 0], weight[:2, :2], weight[:2, :, 0, 0].T).product()
    torch.testing.assert_close(tucker2(small, (2, 2)).product(), small, rtol=1e-7, atol=1e-7)


def test_tucker_parts_are_balanced() -> None:
    parts = tucker2(torch.randn(8, 6, 3, 3), (4, 5))
    assert parts.rank == (4, 5)
    sizes = [float(part.norm()) for part in parts]
    assert sizes == pytest.approx([sizes[0]] * 3, rel=1e-4)
    assert not tucker2(torch.zeros(3, 2, 2, 2), (1, 1)).product().any()


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (torch.ones(3, 2), r"got \(3, 2\)"),
        (torch.ones(3, 0, 2), r"got \(3, 0, 2\)"),
        (torch.ones(3, 2, 2, dtype=torch.int64), "int64"),
        (torch.full((3, 2, 2), torch.inf), "NaN or infinity"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: torch.Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tucker2(kernel, (1, 1))
    with pytest.raises(ValueError, match=says):
        squared_errors(kernel)
