"""boildown.codec: what goes in comes out, bit for bit, and the size is known beforehand."""

import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from states import assert_same, compressed, every_kind, lenet300, states
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import UninitializedParameter
from torch.nn.utils import prune

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.dtypes import NAMES

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(states(), st.none() | st.dictionaries(st.text(), PLAIN, max_size=3))
def test_any_state_comes_back(state: dict[str, Tensor], config: dict[str, object] | None) -> None:
    data = codec.encode(state, config)
    back, told = codec.decode(data)
    assert_same(state, back)
    assert told == config
    assert codec.estimate(state, config) == len(data)


@pytest.mark.parametrize("name", every_kind())
def test_each_kind_comes_back_alone(name: str) -> None:
    state = {name: every_kind()[name]}
    data = codec.encode(state)
    assert_same(state, codec.decode(data)[0])
    assert codec.estimate(state) == len(data)


def test_all_kinds_come_back_from_a_file(tmp_path: Path) -> None:
    state, path = every_kind(), tmp_path / "model.boil"
    size = codec.pack(state, path, config={"name": "all", "sizes": (1, 2)})
    assert size == path.stat().st_size == codec.estimate(state, {"name": "all", "sizes": [1, 2]})
    assert_same(state, codec.unpack(path))
    assert codec.read_config(path) == {"name": "all", "sizes": [1, 2]}


def test_what_was_tied_is_tied_and_nothing_else() -> None:
    base = torch.randn(100)
    state = {"a": base, "b": base, "view": base.reshape(10, 10), "equal": base.clone()}
    back, _ = codec.decode(codec.encode(state))
    assert back["a"] is back["b"]
    back["a"].zero_()
    assert back["view"].equal(base.reshape(10, 10))
    assert back["equal"].equal(base)
    assert codec.dense_bytes(state) == 3 * 400


def test_results_can_be_written_to_and_do_not_share_memory() -> None:
    back, _ = codec.decode(codec.encode({"raw": torch.randn(5), "zeros": torch.zeros(5)}))
    for tensor in back.values():
        tensor.add_(1)
    assert back["zeros"].eq(1).all()


def test_lenet300_at_six_thousand_bytes_has_a_small_header(tmp_path: Path) -> None:
    path = tmp_path / "model.boil"
    config = {"_target_": "boildown.models.lenet300"}
    codec.pack(lenet300(), path, config=config, coder="huffman")
    report = codec.inspect_file(path)
    assert report.header < 150
    assert [t.coder for t in report.tensors][:3] == [
        "sparse huffman",
        "dense huffman",
        "sparse huffman",
    ]


def test_report_adds_up(tmp_path: Path) -> None:
    state, path = every_kind(), tmp_path / "model.boil"
    size = codec.pack(state, path, coder="huffman")
    report = codec.inspect_file(path)
    assert report.tensors == codec.inspect(path)
    assert report.bytes == size == sum(t.bytes for t in report.tensors) + report.header
    assert sum(t.fraction for t in report.tensors) + report.header / size == pytest.approx(1)
    assert report.dense_bytes == codec.dense_bytes(state)
    of = {t.name: t for t in report.tensors}
    assert [t.name for t in report.tensors] == list(state)
    assert (of["zeros"].coder, of["zeros"].nonzero, of["zeros"].distinct) == ("constant", 0, 0)
    assert (of["sparse raw"].coder, of["sparse raw"].weight_bits) == ("sparse raw", None)
    assert (of["tied too"].coder, of["tied too"].bytes) == ("tied to tied", 0)
    assert (of["sparse complex128"].nonzero, of["sparse complex128"].distinct) == (2, 1)
    grid = of["sparse grid"]
    assert grid.nonzero == int(state["sparse grid"].count_nonzero())
    assert (grid.distinct, grid.weight_bits) == (10, 4)
    assert 3 < (grid.weight_bits_coded or 0) < 4
    assert grid.position_bits_coded is not None
    assert grid.position_bits_coded <= 8
    assert grid.fillers is not None


def test_grid_takes_a_byte_per_value_and_beats_any_codebook() -> None:
    even = torch.arange(-100, 101)[torch.randperm(4000) % 201]
    on_grid, off_grid = even * torch.tensor(0.0123), torch.randn(201)[even + 100]
    off, on = (codec.estimate({"w": w}, coder="huffman") for w in (off_grid, on_grid))
    assert off - on == pytest.approx(3 * 201 - 4, abs=8)


def test_a_network_of_nothing_but_constants_stays_small_but_bounded() -> None:
    state = {"w": torch.zeros(30_000_000), "v": torch.ones(1000)}
    data = codec.encode(state)
    assert len(data) == -(-(4 * 30_001_000 - (1 << 24)) // 8192)
    assert codec.estimate(state) == len(data)
    assert_same(state, codec.decode(data)[0])


def test_many_names_do_not_outgrow_the_header_bound() -> None:
    state = {f"{'layer.' * 200}{i}": torch.tensor(i) for i in range(300)}
    assert_same(state, codec.decode(codec.encode(state))[0])


def test_file_is_within_three_percent_of_the_entropies() -> None:
    weight = compressed((1000, 1000), 0.09, 5)
    at = weight.flatten().nonzero().flatten()
    bits = 0.0
    for symbols in (weight.flatten()[at], at.diff(prepend=torch.tensor([-1]))):
        counts = symbols.unique(return_counts=True)[1].double()
        bits += float((counts * (counts.sum() / counts).log2()).sum())
    assert len(codec.encode({"w": weight})) < 1.03 * bits / 8


def nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is a prototype
        made: Tensor = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    return made


def freed() -> Tensor:
    """As FSDP leaves a parameter between the steps that need it."""
    weight = torch.ones(3)
    weight.untyped_storage().resize_(0)
    return weight


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.ones(3)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w": 3}, "'w' is a int"),
        ({3: torch.ones(2)}, "3 is a Tensor"),
        ({"w": torch.ones(2).to_sparse()}, "tensor 'w': only dense"),
        ({"w": torch.ones(2, device="meta")}, "tensor 'w': only dense"),
        ({"w": UninitializedParameter()}, "'w': .* no shape yet; call the network once"),
        ({"w": nested()}, r"'w': .* pack its to_padded_tensor\(\)"),
        ({"w": freed()}, "'w': .* its memory was given back"),
        ({"w": fake()}, "'w': .* of a FakeTensor pack the plain tensor"),
    ],
)
def test_what_cannot_be_packed_is_named(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        codec.encode(state)
    with pytest.raises(CodecError, match=f"the base: (tensor )?{message.removeprefix('tensor ')}"):
        codec.encode({"v": torch.ones(2)}, base={"v": torch.ones(2), **state})


DEEP: list[object] = []
for _ in range(80):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"b": torch.ones(1)}}, "holds a Tensor"),
        ({"a": {1: 2}}, "the key 1"),
        ({"a": 2**70}, "config"),
        ({"a": DEEP}, "nested"),
        ([1], "not a mapping"),
    ],
)
def test_config_must_be_plain(config: dict[str, object], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        codec.encode({}, config)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.boil"
    path.write_bytes(b"old")
    with pytest.raises(CodecError):
        codec.pack({"w": torch.ones(2), "x": 3}, path)
    blocked = tmp_path / "folder"
    blocked.mkdir()
    with pytest.raises(OSError, match="folder"):
        codec.pack({"w": torch.ones(2)}, blocked)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "model.boil"]


def pruned(dtype: torch.dtype = torch.float32) -> Tensor:
    """As `torch.nn.utils.prune` leaves it: half of the zeros are -0.0."""
    layer = torch.nn.Linear(400, 300)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    prune.l1_unstructured(layer, "weight", 0.9)
    prune.remove(layer, "weight")
    return layer.weight.detach().to(dtype)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2]
)
def test_a_masked_weight_is_sparse_though_half_of_its_zeros_are_negative(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    state, path = {"weight": pruned(dtype)}, tmp_path / "model.boil"
    size = codec.pack(state, path)
    assert_same(state, codec.unpack(path))
    clean = codec.encode({"weight": (state["weight"].double() + 0.0).to(dtype)})
    zeros = int((state["weight"].float() == 0).sum())
    assert size <= len(clean) + zeros // 8 + 24
    assert codec.encode(state, zero_signs=False) == clean
    assert codec.estimate(state) == size
    assert codec.estimate(state, zero_signs=False) == len(clean)
    (row,) = codec.inspect(path)
    assert row.nonzero == state["weight"].numel() - zeros
    assert "signed zeros" in row.coder


def test_complex_zeros_have_two_signs() -> None:
    for dtype in (torch.complex64, torch.complex128):
        state = {"weight": torch.complex(pruned().double(), -pruned().double().flip(0)).to(dtype)}
        data = codec.encode(state)
        assert_same(state, codec.decode(data)[0])
        assert len(data) < 0.5 * state["weight"].numel() * dtype.itemsize


def test_a_model_is_no_state_dict() -> None:
    with pytest.raises(CodecError, match=r"a Linear is no state dict: give model\.state_dict\(\)"):
        codec.encode(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


ODD = {
    name: dtype
    for name, dtype in vars(torch).items()
    if isinstance(dtype, torch.dtype) and str(dtype) == f"torch.{name}"
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ODD))
def test_every_dtype_of_torch_comes_back_or_is_refused_with_the_remedy(name: str) -> None:
    size = 16 * max(1, ODD[name].itemsize)
    tensor = (torch.arange(size, dtype=torch.uint8) % 2).view(ODD[name])
    if name in NAMES:
        back = codec.decode(codec.encode({"w": tensor}))[0]["w"]
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        assert back.view(torch.uint8).equal(tensor.view(torch.uint8))
        return
    with pytest.raises(CodecError, match=rf"this is {name}, .*: pack its ") as told:
        codec.encode({"w": tensor})
    if "view(torch.uint8)" in str(told.value):
        assert codec.encode({"w": tensor.view(torch.uint8)})
