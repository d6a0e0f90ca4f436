"""Quantize inside Lightning: what the network sees, what the optimizer moves, exact resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt, drawn, fit, layers
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from boildown import codec, load, pack
from boildown.amp.plugins import fp16
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.prune import Prune
from boildown.callbacks.quantize import Quantize
from boildown.callbacks.share import ShareWeights
from boildown.quantize.activations import grid_on

INPUTS = drawn()


def calibration() -> list[tuple[Tensor, Tensor]]:
    return [INPUTS]


def go(
    quantize: Quantize, extra: list[Callback] | None = None, steps: int = 32, **options: Any
) -> nn.Module:
    return fit(
        [ComputeBudget(steps=steps), quantize, *(extra or [])],
        lambda p: torch.optim.AdamW(p, lr=0.01),
        **options,
    )[1]


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach() for p in model.parameters() if p.ndim > 1]


def distinct(model: nn.Module) -> int:
    return max(len(row.unique()) for w in weights(model) for row in w)


@pytest.mark.parametrize(("bits", "most"), [(2, 4), (3, 8), ("ternary", 3), (8, 256)])
@pytest.mark.parametrize("rule", ["round", "prox"])
def test_weights_end_on_their_grids_and_still_learn(bits: Any, most: int, rule: Any) -> None:
    inputs, targets = INPUTS
    quantize = Quantize(bits=bits, begin=0.25, rule=rule, check="step")
    model = go(quantize, steps=160)
    assert distinct(model) <= most
    assert quantize.reached
    error = (model(inputs).argmax(1) != targets).float().mean()
    plain = fit([ComputeBudget(steps=160)], lambda p: torch.optim.AdamW(p, lr=0.01))[1]
    assert error < 0.35
    assert (plain(inputs).argmax(1) != targets).float().mean() <= error + 0.05


class Watch(Callback):
    """How many values a row has in the forward pass, and at the optimizer's step."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.latent: list[int] = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seen.append(distinct(pl_module.model))  # type: ignore[arg-type]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        self.latent.append(distinct(pl_module.model))  # type: ignore[arg-type]


def test_the_network_sees_the_grid_and_the_optimizer_what_lies_behind() -> None:
    watch = Watch()
    go(Quantize(bits=2, begin=0.5), [watch])
    assert min(watch.seen[:16]) > 4 >= max(watch.seen[16:])
    assert min(watch.latent) > 4


def test_bits_go_down_one_by_one() -> None:
    watch = Watch()
    go(Quantize(bits=2, first_bits=4, begin=0.25, end=0.75), [watch])
    assert max(watch.seen[8:12]) > 8
    assert max(watch.seen[14:18]) <= 8
    assert max(watch.seen[24:]) <= 4


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}])
@pytest.mark.parametrize("quantizing", [{"rule": "prox"}, {"first_bits": 5}, {"activations": 4}])
@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [4, 16, 24])
def test_resume_equals_never_stopping(
    stop: int, quantizing: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    def trained(extra: list[Callback], resume: Path | None = None) -> nn.Module:
        steps = 32 // options.get("accumulate_grad_batches", 1)
        quantize = Quantize(bits=3, begin=0.25, calibration=calibration, **quantizing)
        return go(
            quantize, extra, steps, resume=resume, val_check_interval=4,
            check_val_every_n_epoch=None, **options,
        )  # fmt: skip

    straight = trained([])
    trained([StopAt(stop, tmp_path / "stopped.ckpt")])
    resumed = trained([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
    for one, other in zip(resumed, straight, strict=True):  # type: ignore[call-overload]
        mine, theirs = grid_on(one), grid_on(other)
        assert (mine and mine.entry) == (theirs and theirs.entry)


def test_a_checkpoint_holds_what_is_deployed(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path, every_n_train_steps=20, save_top_k=-1)
    go(Quantize(bits=2, begin=0.25), [save], enable_checkpointing=True)
    held = torch.load(next(tmp_path.glob("*.ckpt")), weights_only=True)["state_dict"]
    assert max(len(row.unique()) for w in held.values() if w.ndim > 1 for row in w) <= 4


def test_skipped_steps_change_nothing() -> None:
    quantize = Quantize(bits=3, activations=4, begin=0.25, check="step", calibration=calibration)
    scaling = LossScaling(initial_scale=2.0**22)  # overflows for a while
    model = fit(
        [ComputeBudget(steps=32), scaling, quantize],
        lambda p: torch.optim.AdamW(p, lr=0.01),
        plugins=[fp16("cpu")],
    )[1]
    assert distinct(model) <= 8
    assert all(w.isfinite().all() for w in weights(model))


def test_pruned_weights_stay_zero_on_the_grid() -> None:
    prune = Prune(sparsity=0.75, begin=0.1, end=0.4, check="step")
    model = fit(
        [ComputeBudget(steps=40), prune, Quantize(bits=3, begin=0.5, check="step")],
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    )[1]
    zeros = sum(int((w == 0).sum()) for w in weights(model))
    assert zeros >= 0.75 * sum(w.numel() for w in weights(model))
    assert distinct(model) <= 8


def test_a_row_of_zeros_stays_zero() -> None:
    model = nn.Sequential(*layers())
    with torch.no_grad():
        model[0].weight[3] = 0.0
    prune = Prune(sparsity=0.5, begin=0.0, end=0.3)
    trained = fit([ComputeBudget(steps=20), prune, Quantize(bits=4, begin=0.4)], model=model)[1]
    assert all(w.isfinite().all() for w in weights(trained))
    assert (weights(trained)[0][3] == 0.0).all()


def test_the_file_knows_the_grids_of_activations(tmp_path: Path) -> None:
    quantize = Quantize(bits=4, activations=3, begin=0.25, calibration=calibration)
    model = go(quantize).eval()
    pack(model, tmp_path / "model.boil")
    loaded = load(tmp_path / "model.boil", nn.Sequential(*layers()))
    torch.testing.assert_close(loaded(INPUTS[0]), model(INPUTS[0]), rtol=0, atol=0)
    bare = nn.Sequential(*layers()).eval()
    bare.load_state_dict(model.state_dict())
    assert not torch.equal(bare(INPUTS[0]), model(INPUTS[0]))
    values: list[Tensor] = []
    loaded[2].register_forward_hook(lambda _, args, __: values.append(args[0]))
    loaded(INPUTS[0])
    assert len(values[0].unique()) <= 8


def test_steps_are_learned_unless_told_otherwise() -> None:
    kept, learned = (
        Quantize(bits=3, activations=3, begin=0.5, learn=learn, calibration=calibration)
        for learn in (False, True)
    )
    entries = []
    for quantize in (kept, learned):
        grid = grid_on(go(quantize)[2])  # type: ignore[index]
        assert grid is not None
        entries.append(grid.entry)
    assert entries[0]["scale"] != entries[1]["scale"]
    assert entries[0]["zero"] == entries[1]["zero"] == 0  # after a ReLU


BAD: list[tuple[dict[str, Any], str]] = [
    ({"bits": 1}, r"quantize\.bits must be a whole number from 2 to 8, got 1"),
    ({"bits": 9}, r"quantize\.bits must be .* got 9"),
    ({"bits": "tern"}, r"quantize\.bits must be .* got 'tern'"),
    ({"bits": {}}, r"quantize\.bits must name at least one"),
    ({"bits": {"*": 12}}, r"quantize\.bits\['\*'\] must be .* got 12"),
    ({"activations": 16}, r"quantize\.activations must be .* got 16"),
    ({"first_bits": 9}, r"quantize\.first_bits must be"),
    ({"granularity": "row"}, r"quantize\.granularity must be tensor, channel.* got 'row'"),
    ({"granularity": 0}, r"quantize\.granularity must be"),
    ({"rule": "ste"}, r"quantize\.rule must be round or prox, got 'ste'"),
    ({"observer": "max"}, r"quantize\.observer must be one of"),
    ({"step_rate": 0}, r"quantize\.step_rate must be"),
    ({"samples": 0}, r"quantize\.samples must be"),
    ({"begin": 0.8, "end": 0.5}, r"quantize"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_settings_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quantize(**given)


def test_groups_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValueError, match=r"granularity=5: .*0\.weight has 12 inputs, which groups"):
        go(Quantize(granularity=5))


def test_what_cannot_go_together_is_named() -> None:
    with pytest.raises(ValueError, match="list Prune first"):
        go(Quantize(begin=0.5), [Prune(sparsity=0.5, begin=0.1, end=0.4)])
    with pytest.raises(ValueError, match="Quantize and ShareWeights both"):
        go(Quantize(begin=0.5), [ShareWeights(bits=3)])


@pytest.mark.parametrize("by", ["trace", "measured"])
@pytest.mark.parametrize("stop", [12, 24])
@pytest.mark.filterwarnings("ignore:the training ended at")
def test_spread_bits_resume_and_keep_to_the_bytes(by: Any, stop: int, tmp_path: Path) -> None:
    def trained(extra: list[Callback], resume: Path | None = None) -> tuple[nn.Module, Quantize]:
        quantize = Quantize(bits=3, allocation=by, begin=0.25, calibration=calibration)
        model = go(
            quantize, extra, resume=resume, val_check_interval=4, check_val_every_n_epoch=None
        )
        return model, quantize

    straight, held = trained([])
    assert set(held.bits_of.values()) <= set(range(2, 9))
    trained([StopAt(stop, tmp_path / "stopped.ckpt")])
    resumed, again = trained([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
    assert again.bits_of == held.bits_of


@pytest.mark.parametrize("kind", [Quantize, ShareWeights])
def test_groups_get_one_width(kind: Any) -> None:
    def bits(**more: Any) -> dict[str, int]:
        held = kind(bits=3, allocation="trace", begin=0.5, calibration=calibration, **more)
        go(held)
        return dict(held.bits_of)

    names = list(bits())
    found = bits(groups=[["0", "2"]])
    assert list(found) == names
    assert len(set(found.values())) == 1
    who = "quantize" if kind is Quantize else "share"
    with pytest.raises(ValueError, match=rf"{who}\.groups: the pattern 'q' matches no tensor"):
        bits(groups=[["q"]])
    with pytest.raises(ValueError, match=rf"{who}\.groups must be a list of lists"):
        bits(groups=["0", "2"])
    with pytest.raises(ValueError, match=rf"{who}\.groups .* give {who}\.allocation too"):
        kind(bits=3, groups=[["0", "2"]])


def test_a_rate_term_makes_codes_shorter() -> None:
    sizes = []
    for rate in (0.0, 3.0):
        model = go(Quantize(bits=4, begin=0.25, rate=rate), steps=200)
        codes = [len(w.unique()) for w in weights(model)]
        sizes.append(pack_bytes(model))
        assert max(codes) > 3
    assert sizes[1] < 0.97 * sizes[0]


def pack_bytes(model: nn.Module) -> int:
    return codec.estimate(model.state_dict())
