"""Files made to do harm: each is written into a folder of a test, and none is stored."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors.torch import save, save_file

Write = Callable[[Path], object]
MARKER = "executed"  # what a file's code would make beside the file
MAGIC = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]


# --- pickles ---------------------------------------------------------------------------------------------------


def bare(content: bytes) -> bytes:
    """A pickle alone."""
    return content


def legacy(content: bytes) -> bytes:
    """The format before torch 1.6, with this pickle in it."""
    return b"".join(pickle.dumps(part, 2) for part in MAGIC) + content + pickle.dumps([], 2)


def zipped(content: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """The format of today, with this pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return file.getvalue()


CONTAINERS = {"bare": bare, "legacy": legacy, "zip": zipped}
TEXT = b"S'touch %s'\n"  # the command, completed with the marker's path
# Every way in which a pickle calls a function or makes an object.
OPCODES = {
    "reduce": b"cposix\nsystem\n(" + TEXT + b"tR.",
    "stack-global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(" + TEXT + b"tR.",
    "inst": b"(" + TEXT + b"iposix\nsystem\n.",
    "obj": b"(cposix\nsystem\n" + TEXT + b"o.",
    "newobj": b"\x80\x02csubprocess\nPopen\n(" + TEXT + b"t\x81.",
    "newobj-ex": b"\x80\x04csubprocess\nPopen\n(" + TEXT + b"t}\x92.",
    "build": b"cbuiltins\nobject\n)R}S'__setstate__'\ncposix\nsystem\nsb" + TEXT + b"b.",
    "extension": b"\x80\x02\x82\x01(" + TEXT + b"tR.",
    "persistent": b"Pposix.system\n.",
    "persistent-object": b"(S'storage'\ncposix\nsystem\n" + TEXT + b"S'cpu'\nI1\ntQ.",
    "ordered-dict": b"ccollections\nOrderedDict\n)R(S'a'\ncposix\nsystem\n(" + TEXT + b"tRu.",
}
FUNCTIONS = (
    "builtins eval",
    "builtins exec",
    "builtins __import__",
    "builtins getattr",
    "os system",
    "nt system",
    "subprocess check_output",
    "importlib import_module",
    "runpy run_path",
    "shutil rmtree",
    "ctypes CDLL",
    "functools partial",
    "operator methodcaller",
    "marshal loads",
    "pickle loads",
    "torch load",
    "torch.hub load",
    "torch.jit load",
    "numpy load",
    "pip main",
)


def pickled(content: bytes, container: Callable[[bytes], bytes]) -> Write:
    """A pickle that would make the marker, in a container."""

    def write(path: Path) -> None:
        path.write_bytes(container(content.replace(b"%s", str(path.parent / MARKER).encode())))

    return write


def calling(function: str) -> bytes:
    module, name = function.encode().split()
    return b"c" + module + b"\n" + name + b"\n(" + TEXT + b"tR."


def endless(path: Path) -> None:
    """A key of nested tuples, whose hash takes 2^60 steps and never gives Python a turn; 814 bytes or fewer."""
    nested = b")q\x00" + b"".join(b"h%c\x86q%c" % (level, level + 1) for level in range(60))
    path.write_bytes(legacy(b"\x80\x02}" + nested + b"K\x01s."))


def nested(path: Path) -> None:
    path.write_bytes(zipped(b"\x80\x02" + b"}X\x05\x00\x00\x00model" * 100_000 + b"}" + b"s" * 100_000 + b"."))


class _Storage:
    def __init__(self, kind: Any, key: str, numel: int, device: str) -> None:
        self.id = ("storage", kind, key, device, numel)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.id if isinstance(value, _Storage) else None


class _Tensor:
    """A tensor as a file describes it, true or not."""

    def __init__(self, size: Any, stride: Any, offset: Any = 0, **of_storage: Any) -> None:
        storage = {"kind": torch.FloatStorage, "key": "0", "numel": 16, "device": "cpu", **of_storage}
        self.arguments = (_Storage(**storage), offset, size, stride, False, {})

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.arguments


def forged(tensor: _Tensor) -> Write:
    """A state dict of one tensor whose description lies."""

    def write(path: Path) -> None:
        file = io.BytesIO()
        _Pickler(file, 2).dump({"a": tensor})
        path.write_bytes(zipped(file.getvalue(), {"0": bytes(64)}))

    return write


FORGED = {
    "negative size": _Tensor((-4, 4), (4, 1)),
    "huge size": _Tensor((2**40, 2**20), (0, 0)),
    "size overflow": _Tensor((2**62, 2**62), (1, 1)),
    "size of text": _Tensor(("4", "4"), (4, 1)),
    "huge stride": _Tensor((4, 4), (2**50, 1)),
    "negative stride": _Tensor((4, 4), (-4, 1)),
    "offset beyond the end": _Tensor((4, 4), (4, 1), 10**9),
    "negative offset": _Tensor((4, 4), (4, 1), -16),
    "storage longer than its record": _Tensor((4, 4), (4, 1), numel=10**9),
    "negative storage": _Tensor((4, 4), (4, 1), numel=-16),
    "missing storage": _Tensor((4, 4), (4, 1), key="1"),
    "storage outside of the archive": _Tensor((4, 4), (4, 1), key="../../../../etc/passwd"),
    "storage on no device": _Tensor((4, 4), (4, 1), device="cuda:99"),
    "storage of a function": _Tensor((4, 4), (4, 1), kind=torch.load),
    "more strides than sizes": _Tensor((4, 4), (4, 1, 1)),
}


# --- contents of checkpoints -----------------------------------------------------------------------------------


def saved(content: Callable[[], Any]) -> Write:
    return lambda path: torch.save(content(), path)


def sparse() -> Any:
    return {"a": torch.ones(4).to_sparse()}


CONTENTS: dict[str, Callable[[], Any]] = {
    "NaN": lambda: {"a": torch.full((2, 2), torch.nan)},
    "infinite": lambda: {"a": torch.full((2, 2), torch.inf)},
    "NaN in half": lambda: {"a": torch.full((2, 2), torch.nan).half()},
    "NaN in bfloat16": lambda: {"a": torch.full((2, 2), torch.nan).bfloat16()},
    "beyond float32": lambda: {"a": torch.full((2, 2), 1e300, dtype=torch.float64)},
    "complex": lambda: {"a": torch.ones(2, 2, dtype=torch.complex64)},
    "sparse": sparse,
    "meta": lambda: {"a": torch.ones(2, 2, device="meta")},
    "expanded": lambda: {"a": torch.ones(1).expand(10**13)},
    "copies of one storage": lambda: {str(at): torch.ones(2**20)[::2] for at in range(3)},
    "integers": lambda: {"down_tr64.ops.0.conv1.weight": torch.ones(2, 1, 3, 3, dtype=torch.int64)},
    "a list": lambda: [torch.ones(2)],
    "a tensor": lambda: torch.ones(2),
    "a number": lambda: 3,
    "none": lambda: None,
    "empty": dict,
    "empty below": lambda: {"state_dict": {"model": {}}},
    "numbers as keys": lambda: {1: torch.ones(2)},
    "tensors as keys": lambda: {torch.ones(2): 1},
    "a list beside": lambda: {"a": torch.ones(2), "history": [1, 2]},
    "control characters": lambda: {"\x00\x1b[2J\n\r": torch.ones(2)},
    "a lone surrogate": lambda: {"\ud800": torch.ones(2)},
    "no name": lambda: {"": torch.ones(2)},
    "a very long name": lambda: {"x" * 10**6: torch.ones(2)},
    "a path as name": lambda: {"../../../etc/passwd": torch.ones(2)},
    "python attributes as names": lambda: {"__class__.__init__": torch.ones(2)},
    "half of a network": lambda: {"down_tr64.ops.0.conv1.weight": torch.ones(2, 1, 3, 3)},
}


def itself(path: Path) -> None:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    torch.save(content, path)


def many(path: Path) -> None:
    """Far more tensors than any network has, each without a number."""
    entries = ",".join(f'"{at}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for at in range(100_001))
    header = f"{{{entries}}}".encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


# --- safetensors -----------------------------------------------------------------------------------------------


def one(**changes: Any) -> dict[str, Any]:
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return {"a": {key: value for key, value in entry.items() if value is not None}}


def headed(header: Any, *, length: int | None = None, body: bytes = bytes(16)) -> Write:
    start = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(start) if length is None else length
    return lambda path: path.write_bytes(struct.pack("<Q", size % 2**64) + start + body)


SAFETENSORS: dict[str, Write] = {
    "header beyond the end": headed(one(), length=10**6),
    "header of 2^63 bytes": headed(one(), length=2**63),
    "header of -1 bytes": headed(one(), length=-1),
    "header without length": headed(one(), length=0),
    "header is a list": headed([1, 2]),
    "header is text": headed(b'"text"'),
    "header is no JSON": headed(b"{]"),
    "header is UTF-16": headed(json.dumps(one()).encode("utf-16")),
    "header nested deep": headed(b'{"a":' + b"[" * 100_000),
    "negative size": headed(one(shape=[-2, -2])),
    "fractional size": headed(one(shape=[2.5, 2])),
    "size of text": headed(one(shape="22")),
    "size overflow": headed(one(shape=[2**62, 2**62])),
    "larger than its bytes": headed(one(shape=[2**20, 2**20])),
    "smaller than its bytes": headed(one(shape=[1])),
    "unknown type": headed(one(dtype="F1000")),
    "type is code": headed(one(dtype="__import__('os').system('id')")),
    "without offsets": headed(one(data_offsets=None)),
    "reversed offsets": headed(one(data_offsets=[16, 0])),
    "negative offsets": headed(one(data_offsets=[-16, 0])),
    "offsets beyond the end": headed(one(data_offsets=[0, 10**12])),
    "overlapping": headed({**one(), "b": one()["a"]}),
    "a gap": headed(one(data_offsets=[8, 24]), body=bytes(24)),
    "bytes behind the end": headed(one(), body=bytes(64)),
    "a name twice": headed(b'{"a":%s,"a":%s}' % ((json.dumps(one()["a"]).encode(),) * 2)),
    "metadata is a number": headed({**one(), "__metadata__": 3}),
    "NaN": lambda path: save_file({"a": torch.full((2, 2), torch.nan)}, path),
}


# --- archives --------------------------------------------------------------------------------------------------


def bomb(path: Path) -> None:
    """A quarter of a gigabyte of pickled zeros in a quarter of a megabyte."""
    content = b"\x80\x02\x8e" + struct.pack("<Q", 2**28) + bytes(2**28) + b"."
    path.write_bytes(zipped(content, method=zipfile.ZIP_DEFLATED))


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/code/__torch__.py", b"import os\nos.system('id')\n")
        archive.writestr("archive/version", b"3\n")


def cut(share: float, content: Callable[[], bytes]) -> Write:
    return lambda path: path.write_bytes(content()[: int(len(content()) * share)])


def whole() -> bytes:
    return zipped(pickle.dumps({"a": 1}, 2), {"0": bytes(4096)})


def checkpoints() -> dict[str, tuple[str, Write]]:
    """Name -> the ending of the file, and what writes it."""
    cases: dict[str, tuple[str, Write]] = {
        f"{opcode} in {name}": (".pt", pickled(content, container))
        for opcode, content in OPCODES.items()
        for name, container in CONTAINERS.items()
    }
    cases |= {f"calls {name}": (".pth", pickled(calling(name), zipped)) for name in FUNCTIONS}
    cases |= {f"forged: {name}": (".pt", forged(tensor)) for name, tensor in FORGED.items()}
    cases |= {f"content: {name}": (".pt", saved(content)) for name, content in CONTENTS.items()}
    cases |= {f"safetensors: {name}": (".safetensors", write) for name, write in SAFETENSORS.items()}
    cases |= {f"cut at {share}": (".pt", cut(share, whole)) for share in (0.01, 0.3, 0.6, 0.99)}
    of_tensors = {"a": torch.ones(9)}
    cases |= {
        f"safetensors cut at {share}": (".safetensors", cut(share, lambda: save(of_tensors)))
        for share in (0.05, 0.5, 0.95)
    }
    return cases | {
        "nested tuples without end": (".pt", endless),
        "nested 100 000 times": (".pt", nested),
        "nested in itself": (".pt", itself),
        "100 001 tensors": (".safetensors", many),
        "a bomb": (".pt", bomb),
        "a script": (".pt", script),
        "text": (".safetensors", lambda path: path.write_text("hello\n")),
        "HTML of a login page": (".pt", lambda path: path.write_text("<!DOCTYPE html><title>Log in</title>")),
        "a git-lfs pointer": (".pt", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n")),
        "an empty archive": (".pt", lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18))),
        "zeros": (".pt", lambda path: path.write_bytes(bytes(5000))),
    }


# --- datasets --------------------------------------------------------------------------------------------------


def array(**header: Any) -> bytes:
    """An npy file whose header says what it likes about 64 bytes."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (64,), **header})
    return file.getvalue() + bytes(64)


def raw_header(text: bytes, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    packed = struct.pack("<H", size) if version == b"\x01\x00" else struct.pack("<I", size)
    return b"\x93NUMPY" + version + packed + text + bytes(64)


HEADERS: dict[str, bytes] = {
    "objects": array(descr="|O"),
    "objects in a record": array(descr=[("a", "|u1"), ("b", "|O")]),
    "a petabyte": array(shape=(10**15,)),
    "shape overflow": array(shape=(2**62, 2**62)),
    "a negative shape": array(shape=(-1, 8, 8)),
    "a shape of truth": array(shape=(True, 64)),
    "no axes": array(shape=()),
    "a hundred axes": array(shape=(1,) * 100),
    "text": array(descr="<U16", shape=(1,)),
    "dates": array(descr="<M8[s]", shape=(8,)),
    "void": array(descr="|V8", shape=(8,)),
    "code": raw_header(b"{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (64,), }\n"),
    "code in a shape": raw_header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9**9**9,), }\n"),
    "a header nested deep": raw_header(b"(" * 20_000 + b")" * 20_000 + b"\n"),
    "a header of a number": raw_header(b"7\n"),
    "a header of 4 GiB": raw_header(b"{}\n", b"\x02\x00", 2**32 - 1),
    "version 9": raw_header(b"{}\n", b"\x09\x00"),
    "an unknown type": raw_header(b"{'descr': '|x9', 'fortran_order': False, 'shape': (64,), }\n"),
    "no magic": b"not an array",
    "nothing": b"",
}


def members(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Write:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
            for name, content in entries:
                archive.writestr(name, content)

    return write


def zeros(mebibytes: int) -> bytes:
    file = io.BytesIO()
    shape = (mebibytes, 1024, 1024)
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(mebibytes * 2**20)


def understated(path: Path) -> None:
    """The directory says 64 bytes where 64 MiB are stored."""
    members(("images.npy", zeros(64)), method=zipfile.ZIP_DEFLATED)(path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 64)
    path.write_bytes(content)


def flagged(offset: int, value: bytes) -> Write:
    """A good file but for some bytes of its first directory entry."""

    def write(path: Path) -> None:
        sound(path)
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02") + offset
        content[at : at + len(value)] = value
        path.write_bytes(content)

    return write


def sound(path: Path) -> None:
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (20, 8, 8), dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, images=random.integers(0, 255, (20, 8, 8), dtype=np.uint8), masks=masks)


def with_masks(masks: Any, **images: Any) -> Write:
    stored = {"images": np.zeros((20, 8, 8), np.uint8), "masks": masks, **images}
    return lambda path: np.savez(path, **stored)


def datasets() -> dict[str, tuple[str, Write]]:
    """Name -> the ending of the file, and what writes it."""
    cases: dict[str, tuple[str, Write]] = {
        f"header: {name}": (".npz", members(("images.npy", content), ("masks.npy", array())))
        for name, content in HEADERS.items()
    }
    masks = np.ones((20, 8, 8), np.uint8)
    return cases | {
        "objects that run code": (".npz", pickled(calling("posix system"), as_object_array)),
        "a pickle": (".npz", pickled(calling("posix system"), bare)),
        "zeros beyond the memory": (
            ".npz",
            members(("images.npy", zeros(300)), ("masks.npy", array()), method=zipfile.ZIP_DEFLATED),
        ),
        "an understated size": (".npz", understated),
        "encrypted": (".npz", flagged(8, b"\x01\x00")),
        "an unknown compression": (".npz", flagged(10, b"\x63\x00")),
        "a wrong checksum": (".npz", flagged(16, b"\xff\xff\xff\xff")),
        "an offset beyond the end": (".npz", flagged(42, b"\xff\xff\xff\x7f")),
        "a folder as array": (".npz", members(("images.npy/", b""), ("masks.npy", array()))),
        "a path as name": (".npz", members(("../images.npy", array()), ("/etc/masks.npy", array()))),
        "no masks": (".npz", members(("images.npy", array(shape=(1, 8, 8))))),
        "an array alone": (".npz", lambda path: path.write_bytes(array())),
        "another ending": (".npz.exe", sound),
        "no ending": ("", sound),
        "masks of text": (".npz", with_masks(np.full((20, 8, 8), "x"))),
        "masks of another shape": (".npz", with_masks(np.ones((20, 9, 8), np.uint8))),
        "masks of fractions": (".npz", with_masks(np.full((20, 8, 8), 0.5))),
        "masks of NaN": (".npz", with_masks(np.full((20, 8, 8), np.nan))),
        "negative masks": (".npz", with_masks(-np.ones((20, 8, 8), np.int64))),
        "images of NaN": (".npz", with_masks(masks, images=np.full((20, 8, 8), np.nan))),
        "images of infinity": (".npz", with_masks(masks, images=np.full((20, 8, 8), np.inf))),
        "no images": (".npz", with_masks(masks[:0], images=np.zeros((0, 8, 8)))),
        "images without a pixel": (".npz", with_masks(masks, images=np.zeros((20, 0, 8)))),
        "a split of bytes": (".npz", with_masks(masks, split=np.array([b"\xff"] * 20))),
        "groups of another count": (".npz", with_masks(masks, groups=np.arange(3))),
        "cut": (".npz", cut(0.7, sound_bytes)),
        "cut in its directory": (".npz", cut(0.98, sound_bytes)),
    }


def sound_bytes() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.zeros((20, 8, 8), np.uint8), masks=np.ones((20, 8, 8), np.uint8))
    return file.getvalue()


def as_object_array(content: bytes) -> bytes:
    """An npz with a pickle where the header says that objects follow."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        archive.writestr("images.npy", header.getvalue() + content)
        archive.writestr("masks.npy", array())
    return file.getvalue()
