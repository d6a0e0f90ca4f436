"""Directories of Hugging Face's tools: packed, unpacked, and loaded by their own libraries."""

import errno
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import ROOT
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import boildown
from boildown import codec
from boildown.cli import main

os.environ.setdefault("HF_HUB_OFFLINE", "1")


class Net(nn.Module):
    def __init__(self, width: int, classes: int = 2, tied: bool = False) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(width, width), nn.Linear(width, classes)
        self.again = self.first if tied else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.again(self.first(x)).relu())
        return logits


class Configured(Net):
    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Configured":
        return cls(config["sizes"]["width"])


def files_of(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        t.dtype == other[n].dtype and t.equal(other[n]) for n, t in one.items()
    )


def packed(directory: Path, *more: str) -> Path:
    out = directory.with_name("packed")
    assert main(["pack", str(directory), "-o", str(out), *more]) == 0
    return out


# --- transformers ---


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="pip install 'boildown[peers]'")


def llama(transformers: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **more,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shards", ["5GB", "4KB"])
def test_a_model_of_transformers_comes_back_bit_for_bit(
    transformers: Any, dtype: torch.dtype, tied: bool, shards: str, tmp_path: Path
) -> None:
    model = llama(transformers, tie_word_embeddings=tied).to(dtype)
    model.generation_config.max_length = 17
    model.save_pretrained(tmp_path / "model", max_shard_size=shards)
    assert ((tmp_path / "model/model.safetensors.index.json").exists()) == (shards == "4KB")
    (tmp_path / "model/README.md").write_text("hello\n")
    out = packed(tmp_path / "model")
    assert set(files_of(out)) == {
        "README.md", "config.json", "generation_config.json", "model.boil"
    }  # fmt: skip
    tokens = torch.randint(50, (3, 7))
    with torch.no_grad():
        for cls in (transformers.LlamaForCausalLM, transformers.AutoModelForCausalLM):
            back = boildown.from_pretrained(out, cls)
            library = cls.from_pretrained(tmp_path / "model")
            assert type(back) is type(library) is transformers.LlamaForCausalLM
            assert not back.training
            assert back.dtype == library.dtype == dtype
            assert (back.lm_head.weight is back.model.embed_tokens.weight) == tied
            assert back.generation_config.max_length == 17
            assert back.name_or_path == str(out)
            assert same(back.state_dict(), library.state_dict())
            # whose buffers that are in no file are fp32, whatever the dtype
            assert back(tokens).logits.equal(library(tokens).logits)
            if dtype == torch.float32:
                assert back(tokens).logits.equal(model(tokens).logits)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pickled_weights_are_packed_with_their_ties(transformers: Any, tmp_path: Path) -> None:
    model = llama(transformers, tie_word_embeddings=True)
    model.config.save_pretrained(tmp_path / "model")
    torch.save(model.state_dict(), tmp_path / "model/pytorch_model.bin")
    out = packed(tmp_path / "model")
    assert "pytorch_model.bin" not in files_of(out)
    back = boildown.from_pretrained(out, transformers.LlamaForCausalLM)
    assert back.lm_head.weight is back.model.embed_tokens.weight
    assert same(back.state_dict(), model.state_dict())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_librarys_own_arguments_and_reports_are_there(
    transformers: Any, tmp_path: Path
) -> None:
    model = llama(transformers)
    model.save_pretrained(tmp_path / "model")
    out = packed(tmp_path / "model")
    half = boildown.from_pretrained(out, transformers.AutoModel, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert type(half) is transformers.LlamaModel
    back, info = boildown.from_pretrained(
        out,
        transformers.LlamaForSequenceClassification,
        num_labels=3,
        output_loading_info=True,
    )
    assert back.config.num_labels == 3
    assert set(info["missing_keys"]) == {"score.weight"}
    assert set(info["unexpected_keys"]) == {"lm_head.weight"}
    with pytest.raises(ValueError, match=r"model.boil does not fit LlamaForCausalLM"):
        boildown.from_pretrained(out, transformers.LlamaForCausalLM, hidden_size=32)
    with pytest.raises(ValueError, match="runs no code of"):
        boildown.from_pretrained(out, transformers.AutoModel, trust_remote_code=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_code_in_a_directory_is_neither_run_nor_asked_for(
    transformers: Any, tmp_path: Path
) -> None:
    model = llama(transformers)
    model.save_pretrained(tmp_path / "model")
    config = tmp_path / "model/config.json"
    ran = tmp_path / "ran"
    (tmp_path / "model/evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    asked = json.loads(config.read_text())
    asked["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    config.write_text(json.dumps(asked | {"model_type": "evil"}))
    out = packed(tmp_path / "model")
    with pytest.raises(ValueError, match="trust_remote_code"):
        boildown.from_pretrained(out, transformers.AutoModel)
    config.write_text(json.dumps(asked))
    (out / "config.json").write_bytes(config.read_bytes())
    assert type(boildown.from_pretrained(out, transformers.AutoModel)) is transformers.LlamaModel
    assert not ran.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fine_tuned_directory_is_packed_against_its_base(
    transformers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = llama(transformers), llama(transformers)
    with torch.no_grad():
        new.lm_head.weight += 1e-3
    old.save_pretrained(tmp_path / "old")
    new.save_pretrained(tmp_path / "new")
    alone = packed(tmp_path / "old")
    out = tmp_path / "tuned"
    assert main(["pack", str(tmp_path / "new"), "--base", str(alone), "-o", str(out)]) == 0
    sizes = [(place / "model.boil").stat().st_size for place in (alone, out)]
    assert sizes[1] < sizes[0] / 4
    for base in (alone, tmp_path / "old", old.state_dict()):
        back = boildown.from_pretrained(out, transformers.AutoModelForCausalLM, base=base)
        assert same(back.state_dict(), new.state_dict())
    with pytest.raises(codec.CodecError, match="--base"):
        boildown.from_pretrained(out, transformers.AutoModelForCausalLM)
    assert main(["unpack", str(out), "-o", str(tmp_path / "back"), "--base", str(alone)]) == 0
    there = load_file(tmp_path / "back/model.safetensors")
    assert same(there, load_file(tmp_path / "new/model.safetensors"))
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_boildown_made_smaller_is_loaded_too(transformers: Any, tmp_path: Path) -> None:
    from boildown.lowrank.factorize import factorize

    model = llama(transformers)
    model.save_pretrained(tmp_path / "model")
    small = factorize(model, {"model.layers.0.mlp.down_proj": 3})
    boildown.pack(small, tmp_path / "model/model.boil")
    tokens = torch.randint(50, (2, 5))
    for cls in (transformers.LlamaForCausalLM, transformers.AutoModelForCausalLM):
        back = boildown.from_pretrained(tmp_path / "model", cls)
        with torch.no_grad():
            assert back(tokens).logits.equal(small(tokens).logits)


# --- timm ---


@pytest.fixture
def timm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("timm", reason="pip install 'boildown[peers]'")


def timm_directory(timm: Any, directory: Path, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("test_resnet", num_classes=7).eval().to(dtype)
    directory.mkdir()
    timm.models.save_for_hf(model, directory, safe_serialization=True)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_of_timm_comes_back_bit_for_bit(
    timm: Any, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = timm_directory(timm, tmp_path / "model", dtype)
    out = packed(tmp_path / "model")
    images = torch.randn(2, 3, 64, 64, dtype=dtype)
    for cls in (timm.create_model, timm.models.ResNet):
        back = boildown.from_pretrained(out, cls)
        assert same(back.state_dict(), model.state_dict())
        assert not back.training
        with torch.no_grad():
            assert back(images).equal(model(images))
    with pytest.raises(ValueError, match="describes a ResNet, no VisionTransformer"):
        boildown.from_pretrained(out, timm.models.VisionTransformer)
    with pytest.raises(ValueError, match="another structure"):
        boildown.from_pretrained(out, timm.create_model, num_classes=3)
    (out / "config.json").write_text('{"architecture": "no_such_net"}')
    with pytest.raises(ValueError, match=r"config.json: timm cannot build it: Unknown model"):
        boildown.from_pretrained(out, timm.create_model)
    (out / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"names no architecture.*boildown.load\("):
        boildown.from_pretrained(out, timm.create_model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_code_of_the_page_runs(
    transformers: Any, timm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    llama(transformers).save_pretrained("model")
    packed(Path("model").absolute())
    timm_directory(timm, Path("of_timm"), torch.float32)
    assert main(["pack", "of_timm", "-o", "packed_timm"]) == 0
    Path("packed_own").mkdir()
    boildown.pack(Net(3), "packed_own/model.boil")
    Path("packed_own/config.json").write_text('{"width": 3}')
    page = (ROOT / "docs/hugging_face.md").read_text(encoding="utf-8")
    given: dict[str, Any] = {"MyNetwork": Net}
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
        exec(code, given)
    assert isinstance(given["network"], Net)


# --- any class ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_class_is_built_of_the_config(dtype: torch.dtype, tmp_path: Path) -> None:
    model = Net(5, 3, tied=True).to(dtype)
    boildown.pack(model, tmp_path / "model.boil")
    (tmp_path / "config.json").write_text('{"width": 5, "classes": 3, "_version": 1}')
    back = boildown.from_pretrained(tmp_path, Net, tied=True)
    assert same(back.state_dict(), model.state_dict())
    assert back.again is back.first
    assert not back.training
    assert isinstance(boildown.from_pretrained(tmp_path / "model.boil", Net, tied=True), Net)
    assert same(
        boildown.load(tmp_path, Net(5, 3, tied=True).to(dtype)).state_dict(), model.state_dict()
    )
    with pytest.raises(ValueError, match="another structure than the model"):
        boildown.from_pretrained(tmp_path, Net, tied=True, classes=4)
    (tmp_path / "config.json").unlink()
    assert boildown.from_pretrained(tmp_path, Net, width=5, classes=3, tied=True)


def test_a_class_may_read_its_config_itself(tmp_path: Path) -> None:
    boildown.pack(Net(4), tmp_path / "model.boil")
    (tmp_path / "config.json").write_text('{"sizes": {"width": 4}}')
    assert isinstance(boildown.from_pretrained(tmp_path, Configured), Configured)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("{", r"config.json is no JSON"),
        ("[" * 100_000, r"config.json is no JSON"),
        ("[1]", "holds a list"),
        ('{"depth": 3}', r"is not what Net is built from.*boildown.load\("),
    ],
)
def test_a_config_that_is_none_is_refused(config: str, why: str, tmp_path: Path) -> None:
    boildown.pack(Net(4), tmp_path / "model.boil")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=why):
        boildown.from_pretrained(tmp_path, Net)


def test_what_is_no_directory_or_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such directory or file; boildown downloads nothing"):
        boildown.from_pretrained("organisation/name", Net)
    with pytest.raises(ValueError, match=r"holds no model.boil: boildown pack makes"):
        boildown.from_pretrained(tmp_path, Net)
    boildown.pack(Net(4), tmp_path / "model.boil")
    for what in (Net(4), print, int):
        with pytest.raises(ValueError, match="is no class of a network"):
            boildown.from_pretrained(tmp_path, what)  # type: ignore[arg-type]


# --- directories ---


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "1_Pooling").mkdir(parents=True)
    (place / ".git").mkdir()
    (place / ".git/config").write_text("x")
    save_file(Net(3).state_dict(), place / "model.safetensors", {"format": "pt", "made": "by me"})
    (place / "config.json").write_text('{"width": 3}')
    (place / "tokenizer.json").write_bytes(bytes(range(256)))
    (place / "1_Pooling/config.json").write_text("{}")
    return place


def test_a_directory_goes_there_and_back(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(directory)
    torch.save(Net(3).state_dict(), directory / "pytorch_model.bin")
    out, back = packed(directory), directory.with_name("back")
    assert "left out: pytorch_model.bin, as the weights are those of model.safetensors" in (
        capsys.readouterr().err
    )
    beside = {n: c for n, c in before.items() if not n.startswith(("model.", ".git"))}
    there = files_of(out)
    assert there.keys() == beside.keys() | {"model.boil"}
    assert {n: there[n] for n in beside} == beside
    assert main(["verify", str(out), str(directory)]) == 0
    assert main(["inspect", str(out), str(out)]) == 0
    assert main(["unpack", str(out), "-o", str(back)]) == 0
    again = files_of(back)
    assert again.keys() == beside.keys() | {"model.safetensors"}
    assert {n: again[n] for n in beside} == beside
    assert same(load_file(back / "model.safetensors"), load_file(directory / "model.safetensors"))
    with safe_open(back / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "made": "by me"}
    assert main(["unpack", str(out)]) == 0  # beside the file
    assert (out / "model.safetensors").is_file()
    assert main(["pack", str(directory), "-o", str(out / "alone.boil")]) == 0
    assert (out / "alone.boil").is_file()


def test_links_are_resolved_and_never_lead_out(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = directory.with_name("secret")
    outside.write_text("secret")
    (directory / "vocab.json").symlink_to("tokenizer.json")
    out = packed(directory)
    assert not (out / "vocab.json").is_symlink()
    assert (out / "vocab.json").read_bytes() == bytes(range(256))
    new = directory.with_name("new")

    def refused(why: str) -> None:
        capsys.readouterr()
        assert main(["pack", str(directory), "-o", str(new)]) == 1
        assert why in capsys.readouterr().err
        assert not [path for path in new.parent.iterdir() if "new" in path.name]

    (directory / "notes.txt").symlink_to(outside)
    refused("notes.txt is a link that leads out of")
    (directory / "notes.txt").unlink()
    (directory / "more").symlink_to("1_Pooling")
    refused("more is a link to a directory, which is not followed")
    (directory / "more").unlink()
    (directory / "gone").symlink_to("nowhere")
    refused("which is not there")
    (directory / "gone").unlink()
    (directory / "loop").symlink_to("loop")
    refused("loop is a link to")
    (directory / "loop").unlink()
    os.mkfifo(directory / "pipe")
    refused("pipe is a pipe")
    (directory / "pipe").unlink()
    (directory / "model.safetensors").rename(outside)
    (directory / "model.safetensors").symlink_to(outside)
    refused("model.safetensors is a link that leads out of")


def test_a_directory_that_cannot_be_read_is_not_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = os.scandir

    def denied(path: Any) -> Any:
        if Path(path).name == "1_Pooling":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert main(["pack", str(directory), "-o", str(directory.with_name("new"))]) == 1
    assert "Permission denied" in capsys.readouterr().err
    assert not directory.with_name("new").exists()


def test_a_snapshot_of_the_cache_is_read_through_its_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b/blobs", tmp_path / "models--a--b/snapshots/abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    save_file(Net(3).state_dict(), blobs / "1")
    (blobs / "2").write_text('{"width": 3}')
    (snapshot / "model.safetensors").symlink_to("../../blobs/1")
    (snapshot / "config.json").symlink_to("../../blobs/2")
    assert main(["pack", str(snapshot), "-o", str(tmp_path / "out")]) == 0
    assert isinstance(boildown.from_pretrained(tmp_path / "out", Net), Net)


def test_a_directory_that_is_taken_is_left_as_it_is(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = directory.with_name("taken")
    taken.mkdir()
    (taken / "file").write_text("mine")
    for out, why in {
        taken: "holds files already",
        directory / "in": "lies in",
        taken / "file": "is a file",
        taken / "a/b": "there is no directory",
    }.items():
        assert main(["pack", str(directory), "-o", str(out)]) == 1
        assert why in capsys.readouterr().err
    assert files_of(taken) == {"file": b"mine"}
    (taken / "file").unlink()
    assert main(["pack", str(directory), "-o", str(taken)]) == 0  # an empty one is filled
    assert (taken / "model.boil").is_file()
    assert main(["unpack", str(directory), "-o", str(taken / "x")]) == 1
    assert "holds no model.boil" in capsys.readouterr().err


# --- bases ---


def tuned(old: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: t + 1e-4 if n.startswith("head") else t.clone() for n, t in old.items()}


@pytest.mark.parametrize("kind", ["old.pt", "old.safetensors", "old.boil", "directory"])
def test_differences_to_a_base_of_any_kind(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Net(40).state_dict()
    new, base = tuned(old), tmp_path / kind
    torch.save(new, tmp_path / "new.pt")
    torch.save(old, tmp_path / "packed_with.pt")
    if kind == "old.pt":
        torch.save(dict(reversed(old.items())), base)
    elif kind == "old.boil":
        codec.pack(old, base)
    else:
        base.mkdir(exist_ok=True) if kind == "directory" else None
        save_file(old, base / "model.safetensors" if kind == "directory" else base)
    file = tmp_path / "new.boil"
    pack = ["pack", str(tmp_path / "new.pt"), "-o", str(file)]
    assert main(pack) == 0
    alone = file.stat().st_size
    assert main([*pack, "--base", str(tmp_path / "packed_with.pt")]) == 0
    assert file.stat().st_size < alone / 5
    given = ["--base", str(base)]
    assert main(["verify", str(file), str(tmp_path / "new.pt"), *given]) == 0
    assert main(["inspect", str(file), *given]) == 0
    assert main(["unpack", str(file), "-o", str(tmp_path / "back.pt"), *given]) == 0
    assert same(torch.load(tmp_path / "back.pt"), new)
    assert same(boildown.load(file, Net(40), base=base).state_dict(), new)
    capsys.readouterr()


def test_a_base_that_is_missing_or_another_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Net(40).state_dict()
    new = tuned(old)
    torch.save(old, tmp_path / "old.pt")
    torch.save(new, tmp_path / "new.pt")
    file = tmp_path / "new.boil"
    boildown.pack(new, file, base=tmp_path / "old.pt")
    digest = codec.base.digest_of(old).hex()
    other = codec.base.digest_of(new).hex()

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        assert main([str(word) for word in arguments]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    for command in (["unpack", file, "-o", tmp_path / "a.pt"], ["inspect", file],
                    ["verify", file, tmp_path / "new.pt"]):  # fmt: skip
        said = refused(*command)
        assert digest in said
        assert "--base" in said
        said = refused(*command, "--base", tmp_path / "new.pt")
        assert digest in said
        assert other in said
    said = refused("pack", tmp_path / "new.pt", "--base", tmp_path / "no.pt", "-o", file)
    assert "no.pt" in said
    torch.save({"elsewhere": torch.ones(3)}, tmp_path / "x.pt")
    said = refused("pack", tmp_path / "new.pt", "--base", tmp_path / "x.pt", "-o", file)
    assert "no tensor of the same name, dtype and shape" in said
    codec.pack(old, tmp_path / "old.boil")
    said = refused(
        "pack", tmp_path / "new.pt", "--base", tmp_path / "old.boil", "-o", tmp_path / "old.boil"
    )
    assert "is the base, which is needed" in said
    base = tmp_path / "base"
    base.mkdir()
    codec.pack(old, base / "model.boil")
    said = refused("pack", tmp_path / "new.pt", "--base", base, "-o", base / "model.boil")
    assert "model.boil is the base, which is needed" in said
    with pytest.raises(ValueError, match="is the base, which is needed"):
        boildown.pack(new, base / "model.boil", base=base / "model.boil")
    assert same(codec.unpack(base / "model.boil"), old)
    said = refused("pack", tmp_path / "old.pt", "--base", file, "-o", tmp_path / "older.boil")
    assert "new.boil holds the differences to a base of its own: unpack it with that" in said
    with pytest.raises(ValueError, match="no tensor of the same name"):
        boildown.pack(new, file, base={"w": torch.ones(1)})
    with pytest.raises(ValueError, match=r"the base is a Net, no state dict: give base.state_dict"):
        boildown.pack(new, file, base=Net(40))  # type: ignore[arg-type]
    name = next(iter(new))
    with pytest.raises(codec.CodecError, match=f"the base: '{name}' is a int"):
        boildown.pack(new, file, base={name: 3})  # type: ignore[dict-item]
    with pytest.raises(codec.CodecError, match=f"^'{name}' is a int"):
        boildown.pack({name: 3}, file, base=old)  # type: ignore[dict-item]
    with pytest.raises(codec.CodecError, match=digest):
        boildown.load(file, Net(40))
