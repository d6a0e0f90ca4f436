"""boildown.runtime.compile: same outputs, faster forms, and never slower ones."""

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank.factorize import factorize
from boildown.models.transformer import GPT
from boildown.runtime import Report, compile
from boildown.runtime.forms import Sparse
from boildown.runtime.layer import CompiledLayer


class Told:
    """A stopwatch that calls each way once and takes times as they are told."""

    def __init__(self, default: float = 2.0, **seconds: float) -> None:
        self.default, self.seconds, self.called = default, {"dense": 1.0, **seconds}, 0

    def __call__(
        self, ways: Mapping[str, Callable[[], Any]], device: torch.device, **_: Any
    ) -> dict[str, list[float]]:
        self.called += 1
        for way in ways.values():
            way()
        names = {name: name.replace("/", "_") for name in ways}
        return {name: [self.seconds.get(key, self.default)] * 8 for name, key in names.items()}


TOLD = Told()


def sparse(layer: Any, kept: float) -> Any:
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < kept)
    return layer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        sparse(nn.Conv2d(3, 8, 3, padding=1), 0.08),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        sparse(nn.Linear(8 * 6 * 6, 40), 0.1),
        nn.ReLU(),
        sparse(nn.Linear(40, 5, bias=False), 0.3),
    )


IMAGES = (3, 6, 6)


def same(model: nn.Module, compiled: nn.Module, *given: Tensor) -> None:
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        expected, found = model(*given), compiled(*given)
    assert found.is_contiguous() == expected.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def swapped(model: nn.Module) -> dict[str, list[str]]:
    return {
        name: [form for _, form, _ in part.choices]
        for name, part in model.named_modules()
        if isinstance(part, CompiledLayer)
    }


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("way", ["csr", "csr_16", "csr_32"])
def test_sparse_rows_compute_the_same(way: str, batch: int) -> None:
    model, x = network(), torch.randn(batch, *IMAGES)
    before = copy.deepcopy(model.state_dict())
    told = Told(compiled=0.5, csr=0.5) if batch == 1 else Told(compiled=0.5, **{way: 0.5})
    compiled: Any = compile(model, x, turns=told)
    assert "4" in swapped(compiled) or (batch, way) in [(2, "csr_16"), (2, "csr_32")]
    same(model, compiled, x)
    for size in (1, 5, 64):  # not measured: the nearest form
        same(model, compiled, torch.randn(size, *IMAGES))
    assert model.training
    assert not compiled.training
    assert all(torch.equal(a, before[k]) for k, a in model.state_dict().items())
    assert all("forward" not in vars(part) for part in model.modules())


@pytest.mark.parametrize("shape", [(12,), (1, 12), (7, 12), (2, 3, 12), (0, 12)])
def test_a_linear_takes_inputs_of_any_number_of_axes(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(sparse(nn.Linear(12, 9), 0.2))
    compiled = compile(model, torch.randn(3, 12), "csr", turns=TOLD)
    same(model, compiled, torch.randn(shape))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "stride": 2, "padding": (1, 0)},
        {"kernel_size": (3, 2), "dilation": 2, "bias": False},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": "valid"},
    ],
)
@pytest.mark.parametrize("backend", ["csr", "shrunk"])
def test_convolutions_compute_the_same(backend: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = sparse(nn.Conv2d(6, 8, **settings), 0.3)
    layer.weight.data[[1, 4]] = 0.0
    layer.weight.data[:, 3] = 0.0
    model, x = nn.Sequential(layer), torch.randn(3, 6, 9, 8)
    compiled = compile(model, x, backend, turns=TOLD)
    assert swapped(compiled) == {"0": [backend]}
    same(model, compiled, x)
    same(model, compiled, x[0])
    assert torch.equal(compiled.state_dict()["0.weight"], layer.weight)


@pytest.mark.parametrize("bias", [True, False])
def test_dead_rows_and_columns_are_dropped_and_put_back(bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 12, bias=bias)
    layer.weight.data[::2] = 0.0
    layer.weight.data[:, 5:] = 0.0
    model, x = nn.Sequential(layer), torch.randn(4, 20)
    compiled: Any = compile(model, x, turns=Told(shrunk=0.5, compiled=0.5))
    assert swapped(compiled) == {"0": ["shrunk"]}
    same(model, compiled, x)
    assert compiled.report.compiled_bytes < compiled.report.dense_bytes / 2
    assert torch.equal(compiled.state_dict()["0.weight"], layer.weight)


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(64, 48), (64,)), (nn.Conv2d(16, 24, 3), (16, 5, 5))]
)
def test_an_exactly_low_rank_becomes_factors_and_no_other(
    layer: Any, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer, x = copy.deepcopy(layer), torch.randn(4, *shape)
    told = Told(factors=0.5, compiled=0.5)
    assert swapped(compile(nn.Sequential(layer), x, turns=told)) == {}
    with torch.no_grad():
        flat = layer.weight.flatten(1)
        low = torch.randn(len(flat), 5) @ torch.randn(5, flat.shape[1]) / 10.0
        layer.weight.copy_(low.view_as(layer.weight))
    compiled: Any = compile(nn.Sequential(layer), x, turns=told)
    assert swapped(compiled) == {"0": ["factors"]}
    assert compiled.report.compiled_bytes == 4 * (5 * sum(flat.shape) + len(flat))
    same(nn.Sequential(layer), compiled, x)
    torch.testing.assert_close(compiled.state_dict()["0.weight"], layer.weight)


def test_the_factors_of_a_layer_are_layers_too() -> None:
    torch.manual_seed(0)
    model = factorize(nn.Sequential(nn.Linear(60, 40)), {"0": 10})
    sparse(model.get_submodule("0.v"), 0.1)
    compiled = compile(model, torch.randn(3, 60), turns=Told(csr=0.5, compiled=0.5))
    assert swapped(compiled) == {"0.v": ["csr"]}
    same(model, compiled, torch.randn(3, 60))


def test_a_form_must_be_clearly_faster() -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    assert swapped(compile(model, x, turns=Told(csr=0.95, compiled=0.5))) == {}
    assert swapped(compile(model, x, turns=Told(csr=0.5, compiled=0.5))) != {}


def test_a_form_that_rounds_disagree_about_is_not_taken() -> None:
    def turns(ways: Mapping[str, Any], device: torch.device, **_: Any) -> dict[str, list[float]]:
        slow = {"dense": [1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]}  # most of its rounds disturbed
        return {name: slow.get(name, [1.0] * 8) for name in ways}

    assert swapped(compile(network(), torch.randn(4, *IMAGES), turns=turns)) == {}


def test_what_is_slower_as_a_whole_stays_as_it_was() -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    told = Told(csr=0.5, compiled=1.5)
    compiled: Any = compile(model, x, turns=told)
    assert swapped(compiled) == {}
    assert {row.form for row in compiled.report.layers if row.chosen} == {"dense"}
    same(model, compiled, x)


def test_each_batch_has_its_form() -> None:
    model = nn.Sequential(sparse(nn.Linear(60, 40), 0.1))

    def turns(ways: Mapping[str, Any], device: torch.device, **_: Any) -> dict[str, list[float]]:
        rows = len(next(iter(ways.values()))())
        fast = {1: "csr", 50: "csr/16"}.get(rows, "dense")
        return {name: [0.5 if name in (fast, "compiled") else 1.0] * 8 for name in ways}

    compiled: Any = compile(model, torch.randn(3, 60), batches=[1, 50, 900], turns=turns)
    layer: Any = compiled.get_submodule("0")
    assert layer.choices == ((60, "csr", 0), (3000, "csr", 16), (54000, "dense", 0))
    assert [layer.chosen(60 * n)[1:] for n in (1, 4, 90, 800)] == [
        ("csr", 0),
        ("csr", 0),
        ("csr", 16),
        ("dense", 0),
    ]
    for n in (1, 50, 51, 900):
        same(model, compiled, torch.randn(n, 60))
    with torch.no_grad():  # what it holds is its own
        x = torch.randn(900, 60)
        before = compiled(x)
        model[0].weight.zero_()
        assert torch.equal(compiled(x), before)


def test_a_real_layer_is_faster_by_a_real_clock() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(sparse(nn.Linear(2048, 2048), 0.01))
    compiled: Any = compile(model, torch.randn(32, 2048))
    assert swapped(compiled) == {"0": ["csr"]}
    (layer, total) = compiled.report.lines()
    assert layer.times > 1.1
    assert total.times > 1.0
    assert total.compiled_bytes < total.dense_bytes / 20


def test_copies_pickles_and_moves_compute_the_same(tmp_path: Path) -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    compiled = compile(model, x, "csr", turns=TOLD)
    file = io.BytesIO()
    torch.save(compiled, file)
    file.seek(0)
    copies = [
        copy.deepcopy(compiled),
        pickle.loads(pickle.dumps(compiled)),
        torch.load(file, weights_only=False),
        copy.deepcopy(compiled).to("cpu"),
    ]
    for other in copies:
        same(model, other, x)
        layer: Any = other.get_submodule("4")
        assert all(form in [*layer.forms.values()] for form, _ in layer._by_size.values())
        assert {b.dtype for m in other.modules() if isinstance(m, Sparse) for b in [m.col]} == {
            torch.int32
        }
    double = copy.deepcopy(compiled).double()
    same(copy.deepcopy(model).double(), double, x.double())


def test_the_state_is_that_of_the_plain_model() -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    compiled = compile(model, x, "csr", turns=TOLD)
    state, plain = compiled.state_dict(), model.state_dict()
    assert list(state) == list(plain)
    assert all(torch.equal(state[name], plain[name]) for name in plain)
    network().load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"4 is compiled .* load the state into the plain model"):
        compiled.load_state_dict(plain)
    same(model, compiled, x)


def test_it_is_for_inference() -> None:
    compiled = compile(network(), torch.randn(4, *IMAGES), "csr", turns=TOLD)
    assert not any(p.requires_grad for p in compiled.parameters())
    compiled(torch.randn(4, *IMAGES))
    with pytest.raises(RuntimeError, match=r"no gradients: call the model under torch.no_grad"):
        compiled(torch.randn(4, *IMAGES, requires_grad=True))
    with torch.inference_mode():
        made = copy.deepcopy(compiled)(torch.randn(4, *IMAGES))
    assert made.is_inference()


def test_a_report_is_saved_and_used_again(tmp_path: Path) -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    told = Told(csr=0.5, csr_16=0.3, compiled=0.5)
    first: Any = compile(model, x, batches=[1, 40], turns=told)
    first.report.save(tmp_path / "report.json")
    report, called = Report.load(tmp_path / "report.json"), told.called
    assert report == first.report
    again: Any = compile(model, x, measured=report, turns=told)
    assert told.called == called
    assert again.report == report
    assert swapped(again) == swapped(first)
    same(model, again, x)


def test_a_report_of_something_else_is_refused(tmp_path: Path) -> None:
    model, x = network(), torch.randn(4, *IMAGES)
    told = Told(csr=0.5, compiled=0.5)
    report = compile(model, x, turns=told).report
    assert isinstance(report, Report)
    other = network()
    sparse(other[4], 0.1)
    with pytest.raises(ValueError, match=r"has 4 as csr of .* it is of other weights"):
        compile(other, x, measured=report)
    with pytest.raises(ValueError, match=r"no choice for 0 of inputs \(4, 12\)"):
        compile(nn.Sequential(nn.Linear(12, 3)), torch.randn(4, 12), measured=report)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(ValueError, match=r"another machine or with other threads .* than this"):
            compile(model, x, measured=report)
    finally:
        torch.set_num_threads(threads)
    path = tmp_path / "report.json"
    for text in ("", "[]", '{"schema": 2}', '{"schema": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"report.json is no report of a compiled model"):
            Report.load(path)
    report.save(path)
    path.write_text(path.read_text().replace('"batch": 4', '"batch": "4"', 1))
    with pytest.raises(ValueError, match="batch is '4'"):
        Report.load(path)


def test_tied_and_repeated_layers_stay_one() -> None:
    torch.manual_seed(0)
    shared = sparse(nn.Linear(30, 30), 0.1)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    compiled: Any = compile(model, torch.randn(4, 30), turns=Told(csr=0.5, compiled=0.5))
    assert compiled[0] is compiled[2]
    assert {row.calls for row in compiled.report.layers} == {2}
    same(model, compiled, torch.randn(4, 30))


def test_a_language_model_with_tied_embeddings_computes_the_same() -> None:
    torch.manual_seed(0)
    model = GPT((16,), 32, width=32, depth=1, heads=2, dropout=0.0, tied=True).eval()
    for part in model.modules():
        if isinstance(part, nn.Linear):
            sparse(part, 0.1)
    words = torch.randint(32, (3, 16))
    same(model, compile(model, words, "csr", turns=TOLD), words)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_layers_that_are_never_called_or_do_more_are_left_alone() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    for part in encoder.modules():
        if isinstance(part, nn.Linear):
            sparse(part, 0.1)
    x = torch.randn(2, 5, 16)
    compiled = compile(
        encoder, x, turns=Told(csr=0.5, compiled=0.5)
    )  # whose own fast path reads the weights
    same(encoder, compiled, x)
    hooked = nn.Sequential(sparse(nn.Linear(16, 16), 0.1))
    hooked[0].register_forward_hook(lambda module, args, output: output + 1)
    assert swapped(compile(hooked, x, turns=TOLD)) == {}
    same(hooked, compile(hooked, x, turns=TOLD), x)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = sparse(nn.Linear(12, 4), 0.2)

    def forward(self, x: Tensor, *, scale: Tensor) -> dict[str, Tensor]:
        return {"out": self.fc(x) * scale, "dtype": self.fc.weight.new_zeros(1)}


def test_examples_may_be_named_and_outputs_structured() -> None:
    torch.manual_seed(0)
    model, given = Named(), {"x": torch.randn(3, 12), "scale": torch.tensor(2.0)}
    compiled: Any = compile(model, given, "csr", batches=[1, 3, 7], turns=TOLD)
    assert swapped(compiled) == {"fc": ["csr"] * 3}
    with torch.no_grad():
        torch.testing.assert_close(compiled(**given)["out"], model(**given)["out"])
    pair = nn.Bilinear(4, 4, 2)
    same(
        pair,
        compile(pair, (torch.randn(3, 4), torch.randn(3, 4)), turns=TOLD),
        *torch.randn(2, 3, 4),
    )


class Reporting(nn.Sequential):
    report = "mine"


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        ({}, {"backend": "fast"}, r"backend must be auto, dense, csr.* got 'fast'"),
        ({}, {"batches": [4, 0]}, r"at least 1, got \[4, 0\]"),
        ({}, {"batches": []}, r"at least 1, got \[\]"),
        ({}, {"example": torch.randn(4, 7)}, r"does not take the example \(\(4, 7\)\): "),
        ({}, {"example": "x"}, r"the example holds no sample"),
        ({}, {"backend": "2:4"}, r"no layer of the Sequential can be computed as 2:4"),
        ({}, {"backend": "factors"}, r"no layer of the Sequential can be computed as factors"),
        ({"weight": torch.nan}, {}, r"4\.weight holds NaN or infinity"),
        ({"bias": torch.inf}, {}, r"4\.bias holds NaN or infinity"),
    ],
)
def test_bad_input_is_named_and_the_model_stays(
    change: dict[str, float], settings: dict[str, Any], says: str
) -> None:
    model = network()
    for name, value in change.items():
        model[4].get_parameter(name).data.view(-1)[0] = value
    before = copy.deepcopy(model.state_dict())
    example = settings.pop("example", torch.randn(4, *IMAGES))
    with pytest.raises(ValueError, match=says):
        compile(model, example, turns=TOLD, **settings)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], equal_nan=True, rtol=0, atol=0)
    assert model.training
    assert all("forward" not in vars(part) for part in model.modules())


def test_what_cannot_be_compiled_is_refused() -> None:
    x = torch.randn(4, *IMAGES)
    with pytest.raises(ValueError, match="0 is compiled already: compile the plain model"):
        compile(compile(network(), x, "csr", turns=TOLD), x)
    with pytest.raises(ValueError, match="Reporting has an attribute report"):
        compile(Reporting(nn.Linear(3, 3)), torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"0\.weight is on the meta device"):
        compile(network().to("meta"), x)


def test_half_precision_is_as_exact_as_it_can_be() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    layer.weight.data[::2] = 0.0
    model, x = nn.Sequential(layer, nn.Linear(32, 8)).bfloat16(), torch.randn(4, 64).bfloat16()
    compiled = compile(model, x, "shrunk", turns=TOLD)
    with torch.no_grad():
        found, expected = compiled(x), model(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="2:4 is a form of CUDA's")
def test_two_of_four_on_cuda() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(256, 256)
    layer.weight.data.view(-1, 4)[:, :2] = 0.0
    model = nn.Sequential(layer).half().cuda()
    x = torch.randn(128, 256, dtype=torch.half, device="cuda")
    compiled = compile(model, x, "2:4")
    assert swapped(compiled) == {"0": ["2:4"]}
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-2, atol=1e-2)


class Chaotic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = sparse(nn.Linear(400, 8), 0.4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = (1e7 * self.fc(x)).sin()
        return made


def test_a_network_that_makes_much_of_rounding_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"outputs of the compiled Chaotic differ by"):
        compile(Chaotic(), torch.randn(40, 400), "csr", turns=TOLD)
