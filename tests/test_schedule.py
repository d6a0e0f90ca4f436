"""boildown.schedule and boildown.name_patterns."""

import pytest

from boildown.name_patterns import by_pattern, without
from boildown.schedule import Cosine, Cubic, Exponential, Linear, OneShot, Rounds, Schedule


@pytest.mark.parametrize(
    "schedule", [OneShot(), Linear(), Cubic(), Exponential(), Rounds(3), Rounds(5, Linear())]
)
@pytest.mark.parametrize("final", [0.0, 0.5, 0.99])
def test_schedules_never_fall_and_end_at_the_target(schedule: Schedule, final: float) -> None:
    values = [schedule(i / 50, final) for i in range(51)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(final, abs=1e-12)
    assert min(values) >= 0.0


def test_rounds_step() -> None:
    assert [Rounds(3, Linear())(u / 6, 0.9) for u in range(6)] == pytest.approx(
        [0.3, 0.3, 0.6, 0.6, 0.9, 0.9]
    )
    with pytest.raises(ValueError, match="got 0"):
        Rounds(0)


def test_cosine_falls_from_one_to_its_floor() -> None:
    shape = Cosine(floor=0.1, warmup=0.2)
    assert (shape(0.1), shape(0.2), shape(1.0)) == pytest.approx((0.5, 1.0, 0.1))
    with pytest.raises(ValueError, match="warmup"):
        Cosine(warmup=1.0)


def test_patterns() -> None:
    names = ["model.conv1.weight", "model.fc1.weight", "model.fc1.bias"]
    assert by_pattern({"fc1.bias": 1, "fc*": 2}, names, "x") == {names[1]: 2, names[2]: 1}
    assert without(["conv?"], names, "x") == names[1:]
    with pytest.raises(ValueError, match="'fc9' matches no tensor; there are"):
        by_pattern({"fc9": 1}, names, "x")
