"""Unpickling what torch.save wrote without running any of it.

A pickle is a program that may name anything to be called. Here it gets the functions that put
tensors together, and plain containers; whatever else it names (a numpy scalar, a config's node, a
path, a class) is a stand-in, which is never called, ignores its state and is no more than a name.
"""

import contextlib
import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor, nn

from boildown.codec import CodecError

_QUIET = {  # plain values that nobody misses
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.frozenset",
    "builtins.set",
    "collections.Counter",
    "collections.defaultdict",
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.device",
    "torch.nn.parameter.Buffer",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    "torch.Size",
}
_OTHER_TENSORS = {  # functions of torch._utils -> what they make
    "_rebuild_sparse_tensor": "a sparse tensor; save its to_dense()",
    "_rebuild_qtensor": "a quantized tensor; save its int_repr(), or dequantize()",
    "_rebuild_nested_tensor": "a nested tensor; save its to_padded_tensor()",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own; save a plain tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor on the meta device, which holds no values",
    "_rebuild_device_tensor_from_numpy": "a tensor of another device; save its cpu()",
}
_OF_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_KEYS = (str, int, float, bool, bytes, type(None))


class StandIn(dict[Any, Any]):
    """In place of an object that only running code could make.

    It keeps what a pickle puts into it by key, as that is how subclasses of dict are restored.

    Attributes:
        path: dotted, of what was named.
        why: what kind of tensor it is that cannot be restored; None for anything else.
    """

    def __init__(self, path: str, why: str | None = None) -> None:
        super().__init__()
        self.path = path
        self.why = why

    __hash__ = object.__hash__  # type: ignore[assignment]


class Unpickled:
    """What `unpickle` found.

    Attributes:
        held: the object in the file.
        left: names of what stand-ins took the place of, each once, in order.
    """

    def __init__(self, held: Any, left: list[str]) -> None:
        self.held = held
        self.left = left


def unpickle(file: BinaryIO) -> Unpickled:
    """The object in a file of torch.save, on the CPU.

    Args:
        file: at its start; untrusted.

    Raises:
        Exception: of any type for a damaged file; ValueError with a remedy for a TorchScript
            archive and for one that promises more than it holds.
    """
    head = file.read(4)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = head == b"PK\x03\x04"
    if zipped:
        _check_zip(file, size)
        file.seek(0)
    left: dict[str, None] = {}

    class Module:
        """Stands for the module pickle."""

        @staticmethod
        def load(opened: BinaryIO, **settings: Any) -> Any:
            return Module.Unpickler(opened, **settings).load()

        class Unpickler(_Inert):
            """Reports to `left`."""

            most = size
            named = left

    with warnings.catch_warnings(action="ignore"), _chosen_here():
        # Not the file itself: from a true file torch would unpack the oldest format's tar to disk.
        opened: Any = file if zipped else _Plain(file)
        # False is what lets torch take another unpickler than its own: the one above runs nothing.
        held = torch.load(opened, map_location="cpu", weights_only=False, pickle_module=Module)
    return Unpickled(held, list(left))


@contextlib.contextmanager
def _chosen_here() -> Any:
    """Without the variable that refuses every unpickler but torch's own, as this one is safe."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    forced = os.environ.pop(name, None)
    try:
        yield
    finally:
        if forced is not None:
            os.environ[name] = forced


class _Plain(io.RawIOBase):
    """A file without a number."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int | None = -1) -> bytes:
        return self.file.read(-1 if size is None else size)

    def readline(self, size: int | None = -1) -> bytes:
        return self.file.readline(-1 if size is None else size)

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def _check_zip(file: BinaryIO, size: int) -> None:
    """Refuse archives of code, and those that would grow when read.

    What torch itself finds in the archive is asked for too, as two readers may see two archives.
    """
    names = torch._C.PyTorchFileReader(file).get_all_records()
    if "constants.pkl" in names:
        raise ValueError("TorchScript")
    file.seek(0)
    entries = zipfile.ZipFile(file).infolist()
    grown = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if grown:
        raise CodecError(
            f"holds {grown[0].filename} compressed, as torch.save never does; unzip it and zip it "
            "again without compression (zip -0 -r), or save it again"
        )
    if sum(entry.file_size for entry in entries) > size or len(entries) != len(names):
        raise CodecError("promises more than it holds: its entries are longer than the file")


_Machine: Any = pickle._Unpickler


_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG
    LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 EMPTY_DICT GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
    GLOBAL STACK_GLOBAL INST OBJ
"""  # those of the last line name something, by `find_class`, or make it, by `_instantiate`


class _Inert(_Machine):  # type: ignore[misc]
    """pickle's machine with the instructions below and those of `_PLAIN`, and no others.

    What an instruction may call is said in `find_class` and `made` alone. Any other instruction,
    one of a later Python too, ends the reading.
    """

    most: int
    named: dict[str, None]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: _Machine.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _PLAIN.split())
    }

    def find_class(self, module: str, name: str) -> Any:
        module = _OF_PYTHON_2.get(module, module)
        path = f"{module}.{name}"
        if module == "torch._utils" and name in _REBUILD:
            return _REBUILD[name]
        if path == "torch._tensor._rebuild_from_type_v2":
            return self._typed
        if path == "collections.OrderedDict":
            return OrderedDict
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if path in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
            return torch.UntypedStorage
        if module == "torch._utils" and name in _OTHER_TENSORS:
            return StandIn(path, _OTHER_TENSORS[name])
        if path not in _QUIET:
            self.named[path] = None
        return StandIn(path)

    def made(self, func: Any, args: Any) -> Any:
        """What a call gives; of anything but the functions for tensors no more than its name."""
        if func is OrderedDict:
            return OrderedDict(_pairs(args))
        if any(func is known for known in _REBUILD.values()) or func == self._typed:
            return func(*args)
        if isinstance(func, StandIn):
            return StandIn(func.path, func.why)
        raise pickle.UnpicklingError(f"a call of a {type(func).__name__}")

    def _typed(self, func: Any, kind: Any, args: Any, state: Any) -> Any:
        """A tensor of a subclass, or with attributes of its own: its values are what counts."""
        return self.made(func, args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self.made(klass, args))

    def load_build(self) -> None:
        self.stack.pop()

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def load_setitems(self) -> None:
        self._update(self.pop_mark())

    def _update(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if type(into) not in (dict, OrderedDict, StandIn):
            raise pickle.UnpicklingError(f"items of a {type(into).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            into[_key(key)] = value

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(items)

    def load_empty_set(self) -> None:
        self.append(StandIn("builtins.set"))

    def load_additems(self) -> None:
        self.pop_mark()

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(StandIn("builtins.frozenset"))

    def load_persid(self) -> None:
        raise pickle.UnpicklingError("a storage named by a text")

    load_next_buffer = load_readonly_buffer = load_persid

    def load_bytearray8(self) -> None:
        length = int.from_bytes(self.read(8), "little")
        if length > self.most:
            raise pickle.UnpicklingError("a bytearray longer than the file")
        self.append(self.read(length))

    def load_binpersid(self) -> None:
        saved = self.stack.pop()
        if type(saved) is tuple and len(saved) == 4 and saved[0] in ("module", b"module"):
            self.append(saved[1])  # a class, with its source code in files of long ago
            return
        if type(saved) is not tuple or len(saved) not in (5, 6):
            raise pickle.UnpicklingError("a storage that is not described")
        if saved[0] not in ("storage", b"storage") or not isinstance(saved[4], int):
            raise pickle.UnpicklingError("a storage that is not described")
        if not 0 <= saved[4] * _itemsize(saved[1]) <= self.most or type(saved[2]) is not str:
            raise pickle.UnpicklingError("a storage larger than the file")
        self.append(self.persistent_load(saved))


for _code, _name in {
    pickle.REDUCE: "reduce",
    pickle.NEWOBJ: "newobj",
    pickle.NEWOBJ_EX: "newobj_ex",
    pickle.BUILD: "build",
    pickle.APPEND: "append",
    pickle.APPENDS: "appends",
    pickle.SETITEM: "setitem",
    pickle.SETITEMS: "setitems",
    pickle.DICT: "dict",
    pickle.EMPTY_SET: "empty_set",
    pickle.ADDITEMS: "additems",
    pickle.FROZENSET: "frozenset",
    pickle.PERSID: "persid",
    pickle.BINPERSID: "binpersid",
    pickle.BYTEARRAY8: "bytearray8",
    pickle.NEXT_BUFFER: "next_buffer",
    pickle.READONLY_BUFFER: "readonly_buffer",
}.items():
    _Inert.dispatch[_code[0]] = getattr(_Inert, f"load_{_name}")


def _itemsize(kind: Any) -> int:
    """Bytes of an element of a storage, whose type may be torch's own wrapper of its name."""
    dtype = getattr(kind, "dtype", None)
    return dtype.itemsize if isinstance(dtype, torch.dtype) else 1


def _key(key: Any) -> Any:
    """A key that can be hashed at no cost: a tuple can be nested deeper than the stack."""
    return key if type(key) in _KEYS else StandIn(type(key).__name__)


def _pairs(args: Any) -> list[tuple[Any, Any]]:
    """What an OrderedDict of long ago was called with."""
    return [(_key(key), value) for key, value in (args[0] if args else ())]


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A view of a storage that lies within it; torch would lengthen the storage."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    empty = any(n == 0 for n in size)
    if offset < 0 or any(n < 0 for n in (*size, *stride)):
        raise pickle.UnpicklingError("a tensor of a negative size")
    dtype = rest[2] if len(rest) > 2 and isinstance(rest[2], torch.dtype) else storage.dtype
    room = storage._untyped_storage.nbytes() // dtype.itemsize
    if not empty and last >= room:
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    if len(rest) > 2 and isinstance(rest[2], torch.dtype):
        made = torch._utils._rebuild_tensor_v3(storage, offset, size, stride, False, None, dtype)
    else:
        made = torch._utils._rebuild_tensor(storage, offset, size, stride)
    flags = next((one for one in rest[2:] if type(one) is dict), {})
    made = torch.conj(made) if flags.get("conj") is True else made
    negative = flags.get("neg") is True
    return torch._neg_view(made) if negative else made


def _parameter(data: Any, requires_grad: Any, *_: Any) -> Any:
    plain = isinstance(data, Tensor) and (data.is_floating_point() or data.is_complex())
    return nn.Parameter(data, bool(requires_grad) and plain) if isinstance(data, Tensor) else data


def _from_cpu(data: Any, *_: Any) -> Any:
    return data


_REBUILD: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_device_tensor_from_cpu_tensor": _from_cpu,
}
