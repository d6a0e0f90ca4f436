"""The command line, as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from boildown import codec
from boildown.cli import main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    weight = torch.randn(64, 50).round()
    path = tmp_path / "model.pt"
    torch.save({"a": weight, "b": weight, "bias": torch.randn(7)}, path)
    return path


def test_pack_inspect_unpack(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boil, back = checkpoint.with_suffix(".boil"), checkpoint.with_suffix(".safetensors")
    assert main(["pack", str(checkpoint)]) == 0
    said = capsys.readouterr().out
    dense, size = 4 * (64 * 50 + 7), boil.stat().st_size
    assert said == (
        f"{boil}: {dense:,} -> {size:,} bytes, {dense / size:.1f}x smaller than dense fp32\n"
    )
    assert main(["inspect", str(boil)]) == 0
    said = capsys.readouterr().out
    for cell in ("64x50", "tied to a", "kept %", "(header)", f"{size:,}", "100.00"):
        assert cell in said
    assert main(["unpack", str(boil)]) == 0
    state, loaded = torch.load(checkpoint), load_file(back)
    assert set(loaded) == set(state)
    assert all(loaded[name].equal(state[name]) for name in state)


def test_inspect_json(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = checkpoint.with_name("other.boil")
    assert main(["pack", str(checkpoint), "-o", str(out)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == out.stat().st_size
    assert told["bytes"] == told["header"] + sum(t["bytes"] for t in told["tensors"])
    assert told["tensors"][0]["shape"] == [64, 50]
    assert told["ratio"] == pytest.approx(told["dense_bytes"] / told["bytes"])


def test_names_do_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.boil"
    codec.pack({"\x1b[2J[red]x": torch.ones(2), "\ud800": torch.ones(3)}, path)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert r"\x1b[2J[red]x" in said


def test_existing_output_is_replaced_only_by_success(checkpoint: Path) -> None:
    out = checkpoint.with_suffix(".boil")
    out.write_bytes(b"old")
    assert main(["pack", str(checkpoint.with_name("missing.pt")), "-o", str(out)]) == 1
    assert out.read_bytes() == b"old"
    assert main(["pack", str(checkpoint)]) == 0
    assert codec.unpack(out)
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["model.boil", "model.pt"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["pack", "missing.pt"], "No such file or directory: 'missing.pt'"),
        (["unpack", "bad.boil"], "bad.boil: this is not a boil file"),
        (["inspect", "bad.boil"], "bad.boil: this is not a boil file"),
        (["inspect", "."], "Is a directory"),
        (["pack", "module.pt"], "save model.state_dict()"),
        (["unpack", "complex.boil"], "safetensors cannot hold this"),
        (["unpack", "good.boil", "-o", "no/such/folder"], "there is no directory no/such"),
        (["unpack", "good.boil", "-o", "."], "is a directory; give the name of a file"),
        (["unpack", "good.boil", "-o", "good.boil"], "good.boil is the file to read"),
    ],
)
def test_errors_are_one_line(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.boil").write_bytes(b"bad")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    codec.pack({"w": torch.ones(2, dtype=torch.complex128)}, "complex.boil")
    codec.pack({"w": torch.ones(2)}, "good.boil")
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("boildown: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.glob(".*"))


def test_wrong_usage_exits_with_2() -> None:
    for arguments in ([], ["pack"], ["no-such-command"]):
        with pytest.raises(SystemExit) as told:
            main(arguments)
        assert told.value.code == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom boildown.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'torch', 'numpy', 'numba', 'rich'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "set()"
    assert "inspect" in told.stdout
