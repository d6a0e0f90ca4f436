"""The command line, as a user meets it."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.utils import prune

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
    before, size = 4 * (64 * 50 + 7), boil.stat().st_size
    assert said == f"{boil}: {before:,} -> {size:,} bytes, {before / size:.1f}x smaller\n"
    assert main(["inspect", str(boil)]) == 0
    said = capsys.readouterr().out
    for cell in (
        "64x50",
        "tied to a",
        "kept %",
        "(header)",
        f"{size:,}",
        "100.00",
        "to dense fp32",
    ):
        assert cell in said
    assert main(["unpack", str(boil)]) == 0
    with safe_open(back, "pt") as file:
        assert file.metadata() == {"format": "pt"}
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


def test_a_narrow_terminal_gets_fewer_columns(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boil = checkpoint.with_suffix(".boil")
    assert main(["pack", str(checkpoint)]) == 0
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for width in (60, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        assert main(["inspect", str(boil)]) == 0
        said = capsys.readouterr()
        assert "tied" in said.out
        assert f"{boil.stat().st_size:,}" in said.out
        assert ("distinct" in said.out) == ("distinct" not in said.err) == (width == 200)


def test_pack_tells_what_was_gained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"w": torch.randn(1000).half().round()}
    torch.save(state, tmp_path / "half.pt")
    assert main(["pack", str(tmp_path / "half.pt")]) == 0
    size = (tmp_path / "half.boil").stat().st_size
    assert capsys.readouterr().out.endswith(
        f": 2,000 -> {size} bytes, {2000 / size:.1f}x smaller "
        f"({4000 / size:.1f}x smaller than as dense fp32)\n"
    )
    torch.save({"w": torch.randn(1000).round(), "steps": torch.tensor(3)}, tmp_path / "counted.pt")
    assert main(["pack", str(tmp_path / "counted.pt")]) == 0
    assert "dense fp32" not in capsys.readouterr().out  # the same figure twice
    noise = torch.randint(-(2**31), 2**31, (1000,), dtype=torch.int32)
    torch.save({"w": noise}, tmp_path / "dense.pt")
    assert main(["pack", str(tmp_path / "dense.pt")]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("bytes, no smaller\n")
    assert "prune or share" in said.err


def test_pack_tells_what_it_passes_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, path = {"w": torch.ones(500), "w._extra_state": None, "\x1b": 3}, tmp_path / "a.pt"
    torch.save({"model": weights, "model_ema": {"w": torch.zeros(500)}}, path)
    assert main(["pack", str(path)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        r"boildown: left out, as they are no named tensors: w._extra_state (NoneType), \x1b (int)",
        "boildown: packed model; --key chooses model_ema instead",
    ]
    assert codec.unpack(tmp_path / "a.boil")["w"].tolist() == [1] * 500
    out = ["-o", str(tmp_path / "a.boil")]
    assert main(["pack", str(path), "--key", "model_ema", *out]) == 0
    assert capsys.readouterr().err == ""
    assert codec.unpack(tmp_path / "a.boil")["w"].tolist() == [0] * 500


@pytest.mark.parametrize(
    ("name", "packed", "unpacked"),
    [
        ("best_0.5", "best_0.5.boil", "best_0.5.safetensors"),
        ("best_0.7.ckpt", "best_0.7.boil", "best_0.7.safetensors"),
        ("v1.pth", "v1.boil", "v1.safetensors"),
        ("x.bin", "x.boil", "x.safetensors"),
        ("x.PT", "x.PT.boil", "x.PT.safetensors"),
    ],
)
def test_names_by_default(tmp_path: Path, name: str, packed: str, unpacked: str) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / name)
    assert main(["pack", str(tmp_path / name)]) == 0
    assert main(["unpack", str(tmp_path / packed)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, packed, unpacked])


def test_a_directory_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model-1.safetensors")
    index = {"weight_map": {"w": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    monkeypatch.chdir(tmp_path)
    for path in (".", "model.safetensors.index.json"):
        assert main(["pack", path]) == 0
        assert codec.unpack("model.boil")["w"].tolist() == [1, 1]
        Path("model.boil").unlink()


def test_unpack_replaces_only_what_is_named(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boil, dense = checkpoint.with_suffix(".boil"), checkpoint.with_suffix(".safetensors")
    assert main(["pack", str(checkpoint)]) == 0
    dense.write_bytes(b"the original")
    capsys.readouterr()
    assert main(["unpack", str(boil)]) == 1
    assert f"{dense} exists; name another file with -o" in capsys.readouterr().err
    assert dense.read_bytes() == b"the original"
    assert main(["unpack", str(boil), "-o", str(dense)]) == 0
    assert set(load_file(dense)) == {"a", "b", "bias"}


def test_a_full_disk(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boil, out = checkpoint.with_suffix(".boil"), checkpoint.with_suffix(".safetensors")
    assert main(["pack", str(checkpoint)]) == 0
    assert main(["unpack", str(boil)]) == 0  # numba keeps the compiled decoder, on the disk too
    out.unlink()
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert main(["unpack", str(boil)]) == 1
        assert main(["pack", str(checkpoint), "-o", str(boil)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().err.splitlines() == [
        f"boildown: [Errno 27] File too large: '{path}'" for path in (out, boil)
    ]
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["model.boil", "model.pt"]


def test_existing_output_is_replaced_only_by_success(checkpoint: Path) -> None:
    out = checkpoint.with_suffix(".boil")
    out.write_bytes(b"old")
    assert main(["pack", str(checkpoint.with_name("missing.pt")), "-o", str(out)]) == 1
    assert out.read_bytes() == b"old"
    assert main(["pack", str(checkpoint)]) == 1
    assert out.read_bytes() == b"old"
    assert main(["pack", str(checkpoint), "-o", str(out)]) == 0
    assert codec.unpack(out)
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["model.boil", "model.pt"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["pack", "missing.pt"], "No such file or directory: 'missing.pt'"),
        (["unpack", "bad.boil"], "bad.boil: this is not a boil file"),
        (["inspect", "bad.boil"], "bad.boil: this is not a boil file"),
        (["inspect", "."], "holds no model.boil"),
        (["pack", "module.pt"], "save model.state_dict()"),
        (["pack", "good.boil"], "good.boil is packed already"),
        (["pack", "."], ". is a directory; give a file, such as loop.pt, module.pt in it"),
        (["pack", "module.pt", "-o", "loop"], "module.pt holds torch.nn"),
        (["unpack", "."], ". holds no model.boil"),
        (
            ["unpack", "complex.boil"],
            "cannot hold a tensor of torch.complex128; -o with a name in .pt",
        ),
        (["unpack", "metadata.boil"], "cannot hold a tensor of the name __metadata__"),
        (["unpack", "surrogate.boil"], r"cannot hold the name '\ud800'"),
        (["unpack", "good.boil", "-o", "loop.pt"], "Too many levels of symbolic links: 'loop.pt'"),
        (["unpack", "\x1b.boil"], r"No such file or directory: '\x1b.boil'"),
        (["unpack", "good.boil", "-o", "no/such/folder.pt"], "there is no directory no/such"),
        (["unpack", "good.boil", "-o", "."], "is a directory; give the name of a file"),
        (["unpack", "good.boil", "-o", "good.npz"], "must end in .safetensors, or in .pt"),
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
    codec.pack({"__metadata__": torch.ones(2)}, "metadata.boil")
    codec.pack({"\ud800": torch.ones(2)}, "surrogate.boil")
    Path("loop").symlink_to("loop")
    Path("loop.pt").symlink_to("loop.pt")
    codec.pack({"w": torch.ones(2)}, "good.boil")
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("boildown: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.glob(".*"))


def test_no_shard_is_replaced_by_what_is_packed_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard, index = tmp_path / "1.safetensors", tmp_path / "model.safetensors.index.json"
    save_file({"w": torch.ones(3)}, shard)
    index.write_text('{"weight_map": {"w": "1.safetensors"}}')
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    assert main(["pack", str(index), "-o", str(shard)]) == 1
    assert "1.safetensors is the file to read" in capsys.readouterr().err
    given = ["--base", str(index), "-o", str(shard)]
    assert main(["pack", str(tmp_path / "a.pt"), *given]) == 1
    assert "1.safetensors is the base, which is needed" in capsys.readouterr().err


def test_it_may_be_stopped(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "load", stop)
    assert main(["pack", str(checkpoint)]) == 130
    assert capsys.readouterr().err == "boildown: stopped\n"


def test_memory_may_run_out(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", fail)
    assert main(["pack", str(checkpoint)]) == 1
    assert capsys.readouterr().err == "boildown: out of memory\n"


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


def test_signs_of_zeros_are_told_and_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = torch.nn.Linear(100, 100)
    prune.l1_unstructured(layer, "weight", 0.9)
    prune.remove(layer, "weight")
    out = tmp_path / "model.boil"
    torch.save(layer.state_dict(), tmp_path / "model.pt")
    assert main(["pack", str(tmp_path / "model.pt")]) == 0
    said = capsys.readouterr()
    size, told = out.stat().st_size, said.err
    assert f"-> {size:,} bytes" in said.out
    assert re.search(r"^boildown: 4,\d{3} zeros are -0\.0, .*--drop-zero-signs", told)
    assert torch.equal(codec.unpack(out)["weight"].signbit(), layer.weight.signbit())
    assert main(["pack", "--drop-zero-signs", str(tmp_path / "model.pt"), "-o", str(out)]) == 0
    assert capsys.readouterr().err == ""
    assert out.stat().st_size < size - 1000
    assert f"the file {out.stat().st_size:,} bytes" in told
    assert torch.equal(codec.unpack(out)["weight"], layer.weight)
