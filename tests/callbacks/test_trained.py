"""What is held is what is trained, however the optimizer steps."""

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import drawn, fit, layers
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from boildown.callbacks import LearnRanks, Prune, ShareWeights
from boildown.schedule import Cubic, OneShot
from boildown.tasks.classification import Classification

CUT: dict[str, Any] = {"schedule": OneShot(), "begin": 0.5, "end": 0.5}
SGD = torch.optim.SGD


def zeros(weight: Tensor) -> float:
    return float((weight == 0).float().mean())


class Distilled(Classification):
    """A student, and a teacher that is in no optimizer though it could be trained."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        torch.manual_seed(1)
        self.teacher = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(batch[0]).softmax(-1)
        return F.cross_entropy(self(batch[0]), wanted)

    def configure_optimizers(self) -> Any:
        return SGD(self.model.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    "technique",
    [
        lambda: Prune(sparsity=0.9, **CUT),
        lambda: ShareWeights(bits=1, begin=0.5),
        lambda: LearnRanks(factors=0.5, begin=0.2, end=0.9, steps=3, metric="weights"),
    ],
)
def test_a_teacher_is_left_alone(technique: Any) -> None:
    kept: list[Distilled] = []

    class Look(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            kept.append(pl_module)
            self.before = copy.deepcopy(pl_module.teacher.state_dict())

    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    look = Look()
    fit([technique(), look], make=Distilled, model=model, max_epochs=10)
    after = kept[0].teacher.state_dict()
    assert all(torch.equal(look.before[name], after[name]) for name in after)


@pytest.mark.parametrize(
    ("technique", "said"),
    [
        (
            lambda: Prune(sparsity=0.9, exclude=["2"], **CUT),
            "prune holds model.0.weight; not model.2.weight (prune.exclude), teacher.0.weight, "
            "teacher.2.weight (no optimizer trains it)",
        ),
        (
            lambda: Prune(keep={"0": 0.5}, **CUT),
            "prune holds model.0.weight; not model.2.weight (not in prune.keep), teacher.0.weight, "
            "teacher.2.weight (no optimizer trains it)",
        ),
        (
            lambda: ShareWeights(bits=1, begin=0.5),
            "share holds model.0.weight, model.2.weight; not teacher.0.weight, teacher.2.weight "
            "(no optimizer trains it)",
        ),
        (
            lambda: LearnRanks(ranks={"model.0": 3}, begin=0.2, end=0.9, steps=3, metric="weights"),
            "lowrank holds model.0.weight; not model.2.weight (not in lowrank.ranks), "
            "teacher.0.weight, teacher.2.weight (no optimizer trains it)",
        ),
    ],
)
def test_what_is_held_and_what_is_not_is_said_once(
    technique: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightning.pytorch.utilities.rank_zero")
    logging.getLogger("lightning.pytorch").addHandler(caplog.handler)
    try:
        model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
        fit([technique()], make=Distilled, model=model, max_epochs=6)
    finally:
        logging.getLogger("lightning.pytorch").removeHandler(caplog.handler)
    ours = [r.getMessage() for r in caplog.records if " holds " in r.getMessage()]
    assert set(ours) == {said}


def test_a_layer_at_its_floor_is_named() -> None:
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        model[2].weight.mul_(1e-4)  # type: ignore[operator]
    with pytest.warns(UserWarning, match="floor") as said:
        fit([Prune(sparsity=0.9, cuts=4, end=0.9)], lambda p: SGD(p, lr=1e-6), model=model,
            max_epochs=4)  # fmt: skip
    (floor,) = [str(w.message) for w in said if "floor" in str(w.message)]
    assert "model.2.weight keeps" in floor
    assert "prune.scope=layer" in floor
    assert "model.0.weight" not in floor


def test_a_copy_for_averaging_is_left_alone() -> None:
    class Averaged(Distilled):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

        def on_train_batch_end(self, *_: Any) -> None:
            self.ema.update_parameters(self.model)

    prune = Prune(sparsity=0.8, check="step", **CUT)
    fit([prune], make=Averaged, max_epochs=4)
    assert prune.names == ["model.0.weight", "model.2.weight"]


def test_what_is_unfrozen_before_the_first_cut_is_cut() -> None:
    class Tuned(Classification):
        @property
        def backbone(self) -> nn.Module:
            return self.model[0]  # type: ignore[index]

        def configure_optimizers(self) -> Any:
            return SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)

    unfreeze = BackboneFinetuning(unfreeze_backbone_at_epoch=1, verbose=False)
    _, model = fit([unfreeze, Prune(sparsity=0.5, **CUT)], make=Tuned, max_epochs=4)
    assert zeros(model[0].weight) == pytest.approx(0.5, abs=0.1)  # type: ignore[index]


def test_a_lazy_layer_is_refused_before_it_is_left_dense() -> None:
    with pytest.raises(ValueError, match=r"model\.0\.weight is not initialised.*lazy.*one batch"):
        fit([Prune(sparsity=0.5, **CUT)], model=nn.Sequential(nn.LazyLinear(3)), max_epochs=1)


@pytest.mark.parametrize("technique", ["prune", "share"])
def test_closures_keep_to_the_set_and_learn(technique: str) -> None:
    """LBFGS calls its closure many times in a step: against the same from the clustered start."""
    inputs, targets = drawn()

    def lbfgs(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, max_iter=10, line_search_fn="strong_wolfe")

    one = Prune(sparsity=0.5, schedule=OneShot(), begin=0.0, end=0.0, check="step")
    two = ShareWeights(bits=2, begin=0.0, check="step")
    _, model = fit([one if technique == "prune" else two], lbfgs, max_epochs=6, batch_size=64)
    loss = F.cross_entropy(model(inputs), targets)
    assert float(loss.detach()) < 0.95


def test_an_optimizer_that_is_stepped_by_hand_is_steered() -> None:
    class ByHand(Classification):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            loss.backward()
            optimizer.step()
            return loss

    def fitted(make: type[Classification]) -> nn.Module:
        return fit([ShareWeights(bits=2, begin=0.0)], make=make, max_epochs=3)[1]

    by_hand, automatic = fitted(ByHand), fitted(Classification)
    for one, other in zip(by_hand.parameters(), automatic.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:.*weights_only.*")
@pytest.mark.parametrize("last", [True, False])
def test_the_best_checkpoint_is_there_and_compressed_at_the_very_end(
    last: bool, tmp_path: Path
) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val/loss")
    prune = Prune(sparsity=0.8, schedule=Cubic(), begin=0.2, end=1.0 if last else 0.8)
    more = [] if last else [ShareWeights(bits=3, begin=1.0)]
    fit([prune, *more, best], max_epochs=4, enable_checkpointing=True)
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    assert zeros(torch.cat([state[f"model.{i}.weight"].flatten() for i in (0, 2)])) > 0.79


def test_sgd_survives_sharing_at_its_own_rate() -> None:
    inputs, targets = drawn(classes=3)

    def trained(**settings: Any) -> float:
        share = ShareWeights(bits=3, begin=0.5, **settings)
        _, model = fit([share], lambda p: SGD(p, lr=0.1, momentum=0.9), max_epochs=40)
        return float(F.cross_entropy(model(inputs), targets).detach())

    assert trained() < 0.5 < trained(gradient="sum")


def test_layers_are_told_from_what_only_looks_like_them() -> None:
    model = nn.Sequential(*layers())
    nn.utils.parametrizations.weight_norm(model[0])
    prune = Prune(sparsity=0.9, scope="layer", **CUT)
    fit([prune], model=model, max_epochs=4)
    assert prune.names == [
        "model.0.parametrizations.weight.original1",
        "model.2.weight",
    ]
    assert int((model[0].weight == 0).all(1).sum()) < 4  # type: ignore[operator, union-attr]
