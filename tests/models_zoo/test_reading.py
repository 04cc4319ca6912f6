"""Reading checkpoint files: what is accepted, and that nothing else ever runs or slips through."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from models_zoo.loading.load import CheckpointError, read_state_dict, sha256


class Malicious:
    """Creates a file when unpickled by a loader that trusts it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


def saved(content: object, file: Path, **settings: Any) -> Path:
    torch.save(content, file, **settings)
    return file


def assert_same(read: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    assert list(read) == list(state)
    assert all(torch.equal(read[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin", "weights.pth"])
def test_safetensors_are_read_whatever_the_suffix(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(state, tmp_path / name)
    assert read_state_dict(tmp_path / name).keys() == state.keys()
    assert torch.equal(read_state_dict(tmp_path / name)["conv.weight"], state["conv.weight"])


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_torch_files_are_read_whatever_the_suffix(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    assert_same(read_state_dict(saved(OrderedDict(state), tmp_path / name)), state)


def test_the_format_before_torch_1_6_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = saved(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(read_state_dict(file), state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_nested_state_dicts_are_unwrapped(state: dict[str, Tensor], tmp_path: Path, key: str) -> None:
    file = saved({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "run.pth")
    assert_same(read_state_dict(file), state)


def test_two_levels_and_the_data_parallel_prefix_are_unwrapped(state: dict[str, Tensor], tmp_path: Path) -> None:
    parallel = {f"module.{key}": tensor for key, tensor in state.items()}
    assert_same(read_state_dict(saved({"model": {"state_dict": parallel}}, tmp_path / "run.pth")), state)


def test_a_prefix_that_some_keys_lack_is_part_of_the_names(tmp_path: Path) -> None:
    state = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert_same(read_state_dict(saved(state, tmp_path / "mixed.pth")), state)


def test_scalars_beside_the_tensors_are_dropped(state: dict[str, Tensor], tmp_path: Path) -> None:
    mixed = {"epoch": 3, "name": "run", "best": 0.5, "last": None, **state}
    assert_same(read_state_dict(saved(mixed, tmp_path / "mixed.pth")), state)


def test_parameters_come_back_as_detached_tensors(tmp_path: Path) -> None:
    file = saved({"weight": nn.Parameter(torch.ones(2))}, tmp_path / "parameters.pth")
    assert not read_state_dict(file)["weight"].requires_grad


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("name", ["evil.pth", "evil.safetensors"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    state: dict[str, Tensor], tmp_path: Path, name: str, new_format: bool
) -> None:
    proof = tmp_path / "proof"
    content = {**state, "evil": Malicious(proof)}
    file = saved(content, tmp_path / name, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"^uri: .*(asks to run code|no safetensors)"):
        read_state_dict(file)
    assert not proof.exists()
    with file.open("rb") as stream:  # the trap does work, or its absence would prove nothing
        torch.load(stream, weights_only=False)
    assert proof.exists()


def test_a_bare_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(CheckpointError, match="asks to run code"):
        read_state_dict(tmp_path / "evil.pkl")
    assert not proof.exists()


def test_a_whole_pickled_network_is_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"asks to run code .*Linear.*save `network\.state_dict\(\)`"):
        read_state_dict(saved(nn.Linear(2, 2), tmp_path / "network.pth"))


def test_a_script_archive_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():  # scripting is deprecated, its files are still about
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_state_dict(tmp_path / "script.pt")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_truncated_file_is_refused(state: dict[str, Tensor], tmp_path: Path, kind: str, share: float) -> None:
    file = tmp_path / "cut"
    if kind == "safetensors":
        safetensors.torch.save_file(state, file)
    else:
        saved(state, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"^uri: "):
        read_state_dict(file)


@pytest.mark.parametrize("name", ["notes.txt", "notes.safetensors", "notes.pth"])
@pytest.mark.parametrize("text", [b"hello, no checkpoint\n", b"{}\n", b"\x00", b"\x80\x02.", b"PK\x03\x04"])
def test_any_other_file_is_refused(tmp_path: Path, name: str, text: bytes) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(CheckpointError, match=r"^uri: "):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("read", [read_state_dict, sha256])
def test_missing_empty_and_directory_are_told_apart(tmp_path: Path, read: Any) -> None:
    (tmp_path / "empty.pth").touch()
    for name, words in (("none.pth", "does not exist"), ("empty.pth", "is empty"), (".", "is not a file")):
        with pytest.raises(CheckpointError, match=rf"^uri: .*{words}"):
            read(tmp_path / name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_a_network_cannot_compute_with_are_refused_by_name(
    state: dict[str, Tensor], tmp_path: Path, value: float
) -> None:
    state["conv.bias"] = torch.tensor([1.0, value], dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r"NaN or infinite values in conv\.bias;"):
        read_state_dict(saved(state, tmp_path / "diverged.pth"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no tensors"),
        ({"epoch": 3}, "no tensors"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({"weight": torch.ones(1), "history": [1, 2]}, "more than tensors .history."),
        ({3: torch.ones(1)}, "more than tensors .3."),
        ({"weight": torch.ones(2).to_sparse()}, "aren't dense and real .weight."),
        ({"weight": torch.ones(2, dtype=torch.complex64)}, "aren't dense and real .weight."),
        ({"weight": torch.ones(1).expand(10**13)}, "aren't dense and real .weight."),
    ],
    ids=["empty", "scalars", "list", "tensor", "history", "number key", "sparse", "complex", "forged size"],
)
def test_content_that_is_no_state_dict_is_refused(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_state_dict(saved(content, tmp_path / "odd.pth"))


def test_sha256_is_the_digest_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8200  # more than two of the pieces it is read in
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
