"""Bad input over HTTP: a problem document, or a failed row with a reason; everything else goes on."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from safetensors.torch import save_file
from torch import Tensor, nn

from models_zoo import architecture as registry
from service.ledger.fusion import DERIVED
from tests.journeys.lab import Lab

pytestmark = pytest.mark.timeout(280)

OWN = {"in_channels": 1, "classes": 2, "width": 4}
CARD = {"source_task": "none", "source_data": "none", "normalisation": {"scale": "unit"}}
GOOD = "good"
EXCEPTION = re.compile(r"Traceback|internal error|\b[A-Z]\w*(Error|Exception)\b|<class|\n")
SCRIPT = "<script>alert(1)</script>"


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def check_readable(reason: str | None, field: str) -> None:
    assert reason
    assert not EXCEPTION.search(reason), reason
    assert re.search(rf"(^|: ){re.escape(field)}: ", reason), reason
    assert re.search(r"[;:,?] \w+", reason.partition(f"{field}: ")[2]), reason  # what is wrong, then what to do
    assert len(reason) < 1500


# --- the service -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("bad"))
    lab.serve()
    lab.wait_until_ready()
    np.savez(lab.folder / "gray.npz", **arrays())
    register_dataset(lab, "gray", lab.folder / "gray.npz")
    register_weights(lab, GOOD, weights())
    yield lab
    lab.close()
    log = lab.output()
    assert "internal error" not in log
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]


def arrays(**changes: Any) -> dict[str, Any]:
    """A small sound segmentation target: bright squares on noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 100, (20, 16, 16, 1)).astype(np.uint8)
    masks = np.zeros((20, 16, 16), np.uint8)
    for index, (row, column) in enumerate(random.integers(0, 10, (20, 2))):
        masks[index, row : row + 6, column : column + 6] = 1
    images[..., 0] += 100 * masks
    return {
        name: value for name, value in {"images": images, "masks": masks, **changes}.items() if value is not None
    }


def labelled(labels: Any, **changes: Any) -> dict[str, Any]:
    return arrays(masks=None, labels=np.asarray(labels), **changes)


def weights(*, seed: int = 0, architecture: str = "unet", spatial_dims: int = 2, **own: Any) -> dict[str, Tensor]:
    """Seeded random weights, with affines that are not tied."""
    torch.manual_seed(seed)
    module = registry.build(architecture, spatial_dims=spatial_dims, **(own or OWN)).module
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(layer.weight, 1.0, 0.2)
            nn.init.normal_(layer.bias, 0.0, 0.2)
    return module.state_dict()


def register_dataset(lab: Lab, name: str, uri: Path | str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "uri": str(uri), "task": "segmentation", "spatial_dims": 2, **more}
    return lab.post("/v1/datasets", body, 201)


def checkpoint_body(name: str, uri: Path | str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "uri": str(uri), "architecture": "unet", "spatial_dims": 2, "parameters": OWN}
    return {**body, "card": CARD, **more}


def register_weights(lab: Lab, name: str, state: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    path = lab.folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return lab.post("/v1/checkpoints", checkpoint_body(name, path, **more), 201)


def over(lab: Lab, path: str) -> dict[str, Any]:
    """The row, once it is done or failed."""
    lab.wait(lambda: lab.http.get(path).json()["state"] in ("done", "failed"), seconds=60)
    row: dict[str, Any] = lab.http.get(path).json()
    return row


def ranked(lab: Lab, dataset: str, *candidates: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Candidate -> its row, once the ranking is over."""
    ranking = lab.wait_for_ranking(lab.rank(dataset, list(candidates), **more))
    assert len(ranking["ranked"]) == len(candidates)
    return {row["candidate"]["name"]: row for row in ranking["ranked"]}


# --- datasets --------------------------------------------------------------------------------------------------


def npz(**changes: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays(**changes))


def npz_of(content: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **content)


def truncated(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-2000])


def cut_in_an_array(path: Path) -> None:
    """A whole directory at the end, a flipped byte within."""
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    content[1500] ^= 0xFF
    path.write_bytes(content)


def with_objects(path: Path) -> None:
    np.savez(path, **arrays(masks=np.array([Bomb(path.with_suffix(".ran"))] * 20, dtype=object)))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(path.with_suffix(".ran"))))


def members(**content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                archive.writestr(f"{name}.npy", value)

    return write


def claiming(shape: tuple[int, ...]) -> bytes:
    """An npy file whose header claims more than it holds."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + b"\0" * 64


def encrypted(path: Path) -> None:
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    for start in [match.start() for match in re.finditer(b"PK\x01\x02", content)]:
        content[start + 8] |= 1
    path.write_bytes(content)


def inverted(images: np.ndarray[Any, Any]) -> Any:
    broken = images.astype(np.float32)
    broken[3, 2, 2] = np.nan
    return broken


SPLIT = np.array(["train"] * 14 + ["val"] * 3 + ["test"] * 3)
BAD_DATASETS: dict[str, tuple[str, Callable[[Path], object], dict[str, Any]]] = {
    "truncated": ("uri", truncated, {}),
    "flipped": ("images", cut_in_an_array, {}),
    "empty-file": ("uri", Path.touch, {}),
    "pickle": ("uri", pickled, {}),
    "objects": ("masks", with_objects, {}),
    "encrypted": ("images", encrypted, {}),
    "raw-bytes": ("images", members(images=b"not an array", masks=b""), {}),
    "claims-petabytes": ("images", members(images=claiming((10**15,)), masks=claiming((64,))), {}),
    "claims-overflow": ("images", members(images=claiming((2**62, 2**62)), masks=claiming((64,))), {}),
    "claims-negative": ("images", members(images=claiming((-5, 16, 16))), {}),
    "no-images": ("images", npz(images=None), {}),
    "zero-images": ("images", npz(images=np.zeros((0, 16, 16, 1)), masks=np.zeros((0, 16, 16), int)), {}),
    "five-axes": ("images", npz(images=np.zeros((20, 4, 4, 4, 4))), {}),
    "text-images": ("images", npz(images=np.full((20, 16, 16), "x")), {}),
    "complex-images": ("images", npz(images=np.ones((20, 16, 16), np.complex64)), {}),
    "nan": ("images", npz(images=inverted(arrays()["images"])), {}),
    "no-masks": ("masks", npz(masks=None), {}),
    "empty-masks": ("masks", npz(masks=np.zeros((20, 16, 16), np.uint8)), {}),
    "mask-shape": ("masks", npz(masks=np.ones((20, 15, 16), np.uint8)), {}),
    "mask-noise": ("masks", npz(masks=np.arange(20 * 256).reshape(20, 16, 16)), {}),
    "one-class": ("labels", npz_of(labelled([1] * 20)), {"task": "classification"}),
    "float-labels": ("labels", npz_of(labelled(np.linspace(0, 1, 20))), {"task": "classification"}),
    "negative-labels": ("labels", npz_of(labelled([-1, 1] * 10)), {"task": "classification"}),
    "long-labels": ("labels", npz_of(labelled(range(100_000))), {"task": "classification"}),
    "identifiers": (
        "labels",
        npz_of({"images": np.zeros((3000, 2, 2)), "labels": np.arange(3000) * 333_333}),
        {"task": "classification"},
    ),
    "beyond-int64": (
        "labels",
        npz_of(labelled(np.array([0, 2**64 - 1] * 10, np.uint64))),
        {"task": "classification"},
    ),
    "nan-values": ("labels", npz_of(labelled([*range(19), np.nan])), {"task": "regression"}),
    "text-values": ("labels", npz_of(labelled(["1.5", "2"] * 10)), {"task": "regression"}),
    "values-of-two-images": ("labels", npz_of(labelled([1.0, 2.0])), {"task": "regression"}),
    "still-values": ("labels", npz_of(labelled([0.1] * 20)), {"task": "regression"}),
    "huge-values": ("labels", npz_of(labelled([1e300, -1e300] * 10)), {"task": "regression"}),
    "far-values": ("labels", npz_of(labelled([*range(17), 1e30, 1, 2], split=SPLIT)), {"task": "regression"}),
    "value-maps": ("labels", npz_of(labelled(np.zeros((20, 16, 16)))), {"task": "regression"}),
    "no-values": ("labels", npz(), {"task": "regression"}),
    "one-label": ("labels", npz_of(labelled([[0], [1]] * 10)), {"task": "multilabel"}),
    "flat-labels": ("labels", npz_of(labelled([0, 1] * 10)), {"task": "multilabel"}),
    "uncertain-labels": ("labels", npz_of(labelled([[0, 1], [-1, 0]] * 10)), {"task": "multilabel"}),
    "unknown-labels": ("labels", npz_of(labelled([[0, 1], [np.nan, 0]] * 10)), {"task": "multilabel"}),
    "never-a-label": ("labels", npz_of(labelled([[0, 0], [1, 0]] * 10)), {"task": "multilabel"}),
    "one-training-image": ("split", npz(split=np.array(["train"] + ["val"] * 19)), {}),
    "only-test": ("split", npz(split=np.array(["test"] * 20)), {}),
    "split-of-bytes": ("split", npz(split=np.array([b"\xff"] * 20)), {}),
    "split-2d": ("split", npz(split=np.array([["train"] * 2] * 20)), {}),
    "short-groups": ("groups", npz(groups=np.arange(3)), {}),
    "nan-spacing": ("spacing", npz(spacing=np.array([np.nan, 1.0])), {}),
    "no-spacing": ("spacing", npz(spacing=np.zeros((0, 2))), {}),
}


@pytest.fixture(scope="module")
def bad_datasets(lab: Lab) -> dict[str, Path]:
    """All registered at once; the worker takes them one after another."""
    paths = {name: lab.folder / f"bad-{name}.npz" for name in BAD_DATASETS}
    for name, (_, write, more) in BAD_DATASETS.items():
        write(paths[name])
        register_dataset(lab, f"bad-{name}", paths[name], **more)
    return paths


@pytest.mark.parametrize("name", BAD_DATASETS)
def test_a_bad_dataset_fails_with_a_reason(lab: Lab, bad_datasets: dict[str, Path], name: str) -> None:
    row = over(lab, f"/v1/datasets/bad-{name}")
    assert row["state"] == "failed"
    check_readable(row["reason"], BAD_DATASETS[name][0])
    assert not bad_datasets[name].with_suffix(".ran").exists()
    refused = lab.post("/v1/rankings", {"dataset": f"bad-{name}", "candidates": [GOOD]}, 409)
    assert refused["errors"][0]["field"] == "dataset"
    assert row["reason"] in refused["detail"]


def not_there(lab: Lab, what: str) -> Path:
    """A path at which anybody sees that no dataset or checkpoint can be read."""
    path = lab.folder / {"long": f"{'x' * 300}.npz"}.get(what, f"{what}.npz")
    if what == "folder":
        path.mkdir(exist_ok=True)
    if what == "fifo":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize("what", ["missing", "folder", "fifo", "long"])
def test_what_is_no_file_is_refused_at_once(lab: Lab, what: str) -> None:
    path = not_there(lab, what)
    dataset = {"name": "nothing", "uri": str(path), "task": "segmentation", "spatial_dims": 2}
    check_problem(lab, "/v1/datasets", dataset, "uri")
    check_problem(lab, "/v1/checkpoints", checkpoint_body("nothing", path), "uri")


def test_a_dataset_with_an_unknown_ending_is_refused_at_once(lab: Lab) -> None:
    (lab.folder / "scan.xyz").write_bytes(b"x")
    body = {"name": "ending", "uri": str(lab.folder / "scan.xyz"), "task": "segmentation", "spatial_dims": 2}
    check_problem(lab, "/v1/datasets", body, "uri")


ODD_DATASETS: dict[str, dict[str, Any]] = {
    "big-endian": {"images": arrays()["images"].astype(">f4"), "masks": arrays()["masks"].astype(">i8")},
    "wide-floats": {"images": arrays()["images"].astype(np.longdouble)},
    "half-floats": {"images": arrays()["images"].astype(np.float16)},
    "booleans": {"images": arrays()["images"] > 120, "masks": arrays()["masks"] > 0},
    "unsigned-64": {"images": arrays()["images"].astype(np.uint64)},
    "constant": {"images": np.full((20, 16, 16, 1), 7.0)},
    "one-pixel": {"images": np.arange(20.0).reshape(20, 1, 1), "masks": (np.arange(20) % 2).reshape(20, 1, 1)},
    "four-pixels": {"images": arrays()["images"][:, 5:9, 5:9], "masks": arrays()["masks"][:, 5:9, 5:9]},
    "only-train": {"split": np.array(["train"] * 20)},
    "odd-groups": {"groups": np.array([f"Ä\n{SCRIPT}\u202e{index % 7}" for index in range(20)])},
    "a-few-classes": {"masks": arrays()["masks"] * np.int64(10**15)},
    "huge-values": {"images": arrays()["images"] * 1e300},
}


@pytest.fixture(scope="module")
def odd_rankings(lab: Lab) -> dict[str, str]:
    """One ranking a dataset, all requested before the first inspection is over."""
    ids = {}
    for name, changes in ODD_DATASETS.items():
        np.savez(lab.folder / f"odd-{name}.npz", **arrays(**changes))
        register_dataset(lab, f"odd-{name}", lab.folder / f"odd-{name}.npz")
        ids[name] = lab.rank(f"odd-{name}", [GOOD])
    return ids


@pytest.mark.parametrize("name", ODD_DATASETS)
def test_an_odd_but_sound_dataset_is_ranked(lab: Lab, odd_rankings: dict[str, str], name: str) -> None:
    ranking = lab.wait_for_ranking(odd_rankings[name])
    (row,) = ranking["ranked"]
    assert (row["state"], row["reason"]) == ("done", None)
    assert set(row["scores"]) - set(DERIVED) == set(ranking["measures"])
    for score in row["scores"].values():
        assert score["value"] is not None or not EXCEPTION.search(score["reason"])


# --- checkpoints -----------------------------------------------------------------------------------------------


def saved(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def tensors(change: Callable[[Tensor], Tensor], **own: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({key: change(value) if value.ndim else value for key, value in weights(**own).items()}, path)

    return write


def bombed(path: Path) -> None:
    torch.save({"state_dict": weights(), "epoch": Bomb(path.with_suffix(".ran"))}, path)


def bare_bomb(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(path.with_suffix(".ran"))))


def nested_in_itself(path: Path) -> None:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    torch.save(content, path)


def cut_safetensors(path: Path) -> None:
    save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def safetensors(header: dict[str, Any] | bytes, body: bytes = b"\0" * 16) -> Callable[[Path], object]:
    start = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lambda path: path.write_bytes(struct.pack("<Q", len(start)) + start + body)


def forged_stride(path: Path) -> None:
    torch.save({key: torch.zeros(1).expand(10**6, 10**6) for key in ("a", "b")}, path)


def with_nan(value: Tensor) -> Tensor:
    return torch.full_like(value, torch.nan) if value.is_floating_point() else value


def one(dtype: str, *offsets: int) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": [4], "data_offsets": list(offsets)}}


LONG = "x" * 100_000
BAD_CHECKPOINTS: dict[str, tuple[str, Callable[[Path], object], dict[str, Any]]] = {
    "empty-file": ("uri", Path.touch, {}),
    "bomb": ("uri", bombed, {}),
    "bare-bomb": ("uri", bare_bomb, {}),
    "garbage": ("uri", lambda path: path.write_bytes(os.urandom(5000)), {}),
    "nested-in-itself": ("uri", nested_in_itself, {}),
    "whole-module": ("uri", saved(nn.Conv2d(1, 1, 1)), {}),
    "a-list": ("uri", saved([1, 2]), {}),
    "no-tensors": ("uri", saved({"epoch": 3}), {}),
    "other-network": (
        "uri",
        lambda path: save_file(weights(architecture="resnet", in_channels=1, classes=2), path),
        {},
    ),
    "other-width": ("uri", lambda path: save_file(weights(in_channels=1, classes=2, width=8), path), {}),
    "half-loaded": ("uri", lambda path: save_file(weights(**{**OWN, "norm": "instance"}), path), {}),
    "nan": ("uri", tensors(with_nan), {}),
    "complex": ("uri", tensors(lambda value: value.to(torch.complex64)), {}),
    "integers": ("uri", tensors(lambda value: value.to(torch.int8)), {}),
    "meta": ("uri", tensors(lambda value: value.to("meta")), {}),
    "sparse": ("uri", tensors(lambda value: value.to_sparse()), {}),
    "beyond-float32": ("uri", tensors(lambda value: value.double() * 1e300), {}),
    "forged-stride": ("uri", forged_stride, {}),
    "long-names": ("uri", saved({f"{LONG}\n{SCRIPT}\ud800{index}": torch.zeros(1) for index in range(5)}), {}),
    "truncated-safetensors": ("uri", cut_safetensors, {}),
    "unknown-dtype": ("uri", safetensors(one("F1000", 0, 16)), {}),
    "beyond-the-end": ("uri", safetensors(one("F32", 0, 10**12)), {}),
    "overlapping": ("uri", safetensors({**one("F32", 0, 16), "b": one("F32", 4, 16)["a"]}), {}),
    "no-json": ("uri", safetensors(b"{]"), {}),
    "long-header": ("uri", lambda path: path.write_bytes(b"\xff" * 7 + b"\x7f{"), {}),
    "wrong-digest": ("uri", lambda path: save_file(weights(), path), {"card": {**CARD, "sha256": "0" * 64}}),
    "too-wide": ("parameters", lambda path: save_file(weights(), path), {"parameters": {**OWN, "width": 10**5}}),
    "absurdly-wide": (
        "parameters",
        lambda path: save_file(weights(), path),
        {"parameters": {**OWN, "width": 10**30}},
    ),
    "no-width": ("parameters", lambda path: save_file(weights(), path), {"parameters": {**OWN, "width": -3}}),
    "short-features": (
        "parameters",
        lambda path: save_file(weights(), path),
        {"architecture": "basic_unet", "parameters": {"in_channels": 1, "classes": 2, "features": [4, 4]}},
    ),
}


@pytest.fixture(scope="module")
def bad_checkpoints(lab: Lab) -> dict[str, Path]:
    paths = {name: lab.folder / f"bad-{name}.pth" for name in BAD_CHECKPOINTS}
    for name, (_, write, more) in BAD_CHECKPOINTS.items():
        write(paths[name])
        lab.post("/v1/checkpoints", checkpoint_body(f"bad-{name}", paths[name], **more), 201)
    return paths


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_fails_with_a_reason(lab: Lab, bad_checkpoints: dict[str, Path], name: str) -> None:
    row = over(lab, f"/v1/checkpoints/bad-{name}")
    assert row["state"] == "failed"
    check_readable(row["reason"], BAD_CHECKPOINTS[name][0])
    assert not bad_checkpoints[name].with_suffix(".ran").exists()
    refused = lab.post("/v1/finetune-runs", {"dataset": "gray", "checkpoint": f"bad-{name}"}, 409)
    assert refused["errors"][0]["field"] == "checkpoint"


def test_a_good_candidate_leads_a_list_of_bad_ones(lab: Lab, bad_checkpoints: dict[str, Path]) -> None:
    names = [f"bad-{name}" for name in bad_checkpoints]
    ranking = lab.wait_for_ranking(lab.rank("gray", [*names, GOOD]))
    assert ranking["state"] == "done"
    assert ranking["counts"] == {"done": 1, "failed": len(names)}
    first, *others = ranking["ranked"]
    assert (first["candidate"]["name"], first["position"], first["state"]) == (GOOD, 1, "done")
    for row in others:
        assert (row["position"], row["state"]) == (None, "failed")
        check_readable(row["reason"], BAD_CHECKPOINTS[row["candidate"]["name"].removeprefix("bad-")][0])


ODD_CHECKPOINTS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "half": lambda state: {key: value.half() for key, value in state.items()},
    "bfloat16": lambda state: {key: value.bfloat16() for key, value in state.items()},
    "double": lambda state: {key: value.double() for key, value in state.items()},
    "wrapped": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
    "dead": lambda state: {
        key: torch.zeros_like(value) if ".bn1.weight" in key else value for key, value in state.items()
    },
    "all-zero": lambda state: {key: torch.zeros_like(value) for key, value in state.items()},
    "more-keys": lambda state: {**state, f"{SCRIPT}\ud800\0": torch.zeros(2)},
}


def test_odd_but_sound_checkpoints_are_ranked(lab: Lab) -> None:
    for name, change in ODD_CHECKPOINTS.items():
        torch.save(change(weights()), lab.folder / f"odd-{name}.pth")
        lab.post("/v1/checkpoints", checkpoint_body(f"odd-{name}", lab.folder / f"odd-{name}.pth"), 201)
    rows = ranked(lab, "gray", GOOD, *(f"odd-{name}" for name in ODD_CHECKPOINTS))
    for row in rows.values():
        assert (row["state"], row["reason"]) == ("done", None)
    assert rows["odd-wrapped"]["scores"]["logme"]["value"] == rows[GOOD]["scores"]["logme"]["value"]
    assert "degenerate" in rows["odd-all-zero"]["scores"]["ac_corr"]["flags"]


def test_weights_that_give_no_numbers_fail_alone(lab: Lab) -> None:
    state = weights()
    register_weights(
        lab, "negative-variance", {**state, "down_tr64.ops.0.bn1.running_var": torch.full((4,), -1.0)}
    )
    register_weights(lab, "enormous", {key: value * 1e30 for key, value in state.items()})
    rows = ranked(lab, "gray", "negative-variance", "enormous", GOOD)
    assert (rows[GOOD]["state"], rows[GOOD]["position"]) == ("done", 1)
    for name in ("negative-variance", "enormous"):
        assert rows[name]["state"] == "failed"
        check_readable(rows[name]["reason"], "features")


# --- what does not fit together --------------------------------------------------------------------------------


def test_candidates_that_do_not_fit_the_target_are_refused_at_once(lab: Lab) -> None:
    colour = {"in_channels": 3, "classes": 2, "width": 4}
    content = arrays()
    np.savez(lab.folder / "colour.npz", images=content["images"].repeat(3, axis=-1), masks=content["masks"])
    register_dataset(lab, "colour", lab.folder / "colour.npz")
    register_weights(lab, "colour", weights(**colour), parameters=colour)
    register_weights(lab, "volume", weights(spatial_dims=3), spatial_dims=3)
    classifier = weights(architecture="unet_classifier")
    register_weights(lab, "classifier", classifier, architecture="unet_classifier")
    rows = ranked(lab, "colour", "colour")
    assert (rows["colour"]["state"], rows["colour"]["position"]) == ("done", 1)
    for name in ("colour", "volume", "classifier"):
        check_problem(lab, "/v1/rankings", {"dataset": "gray", "candidates": [GOOD, name]}, "candidates.1")
        check_problem(lab, "/v1/finetune-runs", {"dataset": "gray", "checkpoint": name}, "checkpoint")


def test_an_exploding_learning_rate_fails_its_own_ranking_only(lab: Lab) -> None:
    hot = {"optimizer": "sgd", "learning_rate": 1e30, "batch_size": 2}
    first = lab.rank("gray", [GOOD], protocol=hot)
    second = lab.rank("gray", [GOOD], protocol={"seed": 5})
    (row,) = lab.wait_for_ranking(first)["ranked"]
    assert row["state"] == "failed"
    check_readable(row["reason"], "learning_rate")
    (row,) = lab.wait_for_ranking(second)["ranked"]
    assert (row["state"], row["position"]) == ("done", 1)


@pytest.mark.parametrize(
    "protocol",
    [
        {"learning_rate": 1e30, "steps": 1},
        {"crop": [512, 512]},
        {"crop": [8, 8], "voxels_total": 1, "voxels_per_class": 1},
        {"temperature": 1e-6},
        {"temperature": 1e6},
        {"weight_decay": 1e6},
        {"batch_size": 100_000, "seed": 2**32 - 1},
    ],
    ids=str,
)
def test_an_extreme_protocol_ends_with_scores_or_a_reason(lab: Lab, protocol: dict[str, Any]) -> None:
    row = ranked(lab, "gray", GOOD, protocol=protocol)[GOOD]
    if row["state"] == "failed":
        check_readable(row["reason"], "voxels_total" if "voxels_total" in protocol else "learning_rate")
    else:
        assert row["state"] == "done"
        for score in row["scores"].values():
            assert score["value"] is not None or not EXCEPTION.search(score["reason"])


def test_a_stage_that_no_network_has_fails_with_a_reason(lab: Lab) -> None:
    check_readable(ranked(lab, "gray", GOOD, protocol={"stage": "decoder_99"})[GOOD]["reason"], "stage")


def test_what_changed_after_registration_is_noticed(lab: Lab) -> None:
    changing = lab.folder / "changing.npz"
    np.savez(changing, **arrays())
    register_dataset(lab, "changing", changing)
    register_weights(lab, "retrained", weights(seed=1))
    register_weights(lab, "removed", weights(seed=2))
    for path in ("/v1/datasets/changing", "/v1/checkpoints/retrained", "/v1/checkpoints/removed"):
        assert over(lab, path)["state"] == "done"
    save_file(weights(seed=3), lab.folder / "retrained.safetensors")
    (lab.folder / "removed.safetensors").unlink()
    rows = ranked(lab, "changing", "retrained", "removed", GOOD)
    check_readable(rows["retrained"]["reason"], "checkpoint")
    check_readable(rows["removed"]["reason"], "checkpoint")
    assert (rows[GOOD]["state"], rows[GOOD]["position"]) == ("done", 1)
    np.savez(changing, **arrays(masks=1 - arrays()["masks"]))
    check_readable(ranked(lab, "changing", GOOD, protocol={"seed": 1})[GOOD]["reason"], "dataset")
    changing.write_bytes(changing.read_bytes()[:100])
    check_readable(ranked(lab, "changing", GOOD, protocol={"seed": 2})[GOOD]["reason"], "uri")
    changing.unlink()
    check_readable(ranked(lab, "changing", GOOD, protocol={"seed": 3})[GOOD]["reason"], "uri")


# --- requests --------------------------------------------------------------------------------------------------


def check_problem(lab: Lab, path: str, body: Any, field: str, *, status: int = 422) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = lab.http.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    fault = next(one for one in problem["errors"] if one["field"] == field)
    assert fault["message"]
    assert fault["remedy"]
    assert not EXCEPTION.search(problem["detail"]), problem["detail"]


@pytest.mark.parametrize("where", ["outside", "dots", "link", "loop", "device", "relative", "web", "other-host"])
@pytest.mark.parametrize("kind", ["datasets", "checkpoints"])
def test_a_path_outside_of_the_roots_is_refused(lab: Lab, kind: str, where: str) -> None:
    link, loop, device = (lab.folder / f"{name}.link" for name in ("out", "loop", "device"))
    for path, target in ((link, "/etc"), (loop, loop.name), (device, "/dev/zero")):
        if not path.is_symlink():
            path.symlink_to(target)
    uri = {
        "outside": "/etc/passwd",
        "dots": f"{lab.folder}/../../../../../../etc/passwd",
        "link": f"{link}/passwd",
        "loop": str(loop),
        "device": str(device),
        "relative": "gray.npz",
        "web": "https://example.org/gray.npz",
        "other-host": "file://host/gray.npz",
    }[where]
    body = checkpoint_body("outside", uri)
    if kind == "datasets":
        body = {"name": "outside", "uri": uri, "task": "segmentation", "spatial_dims": 2}
    check_problem(lab, f"/v1/{kind}", body, "uri")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": "nowhere"}, "dataset"),
        ({"candidates": ["nobody"]}, "candidates.0"),
        ({"candidates": [GOOD, GOOD]}, "candidates.1"),
        ({"candidates": []}, "candidates"),
        ({"measures": ["logme", "logm"]}, "measures.1"),
        ({"order_by": "luck"}, "order_by"),
        ({"protocol": {"learning_rate": -1}}, "protocol.learning_rate"),
        ({"protocol": {"learning_rate": 1e300}}, "protocol.learning_rate"),
        ({"protocol": {"learning_rate": None}}, "protocol.learning_rate"),
        ({"protocol": {"steps": 0}}, "protocol.steps"),
        ({"protocol": {"steps": 10**30}}, "protocol.steps"),
        ({"protocol": {"batch_size": 1}}, "protocol.batch_size"),
        ({"protocol": {"voxels_per_class": 10**30}}, "protocol.voxels_per_class"),
        ({"protocol": {"crop": [0, 0]}}, "protocol.crop.0"),
        ({"protocol": {"crop": [10**30, 8]}}, "protocol.crop.0"),
        ({"protocol": {"crop": [8, 8, 8]}}, "protocol.crop"),
        ({"protocol": {"temperature": 0}}, "protocol.temperature"),
        ({"protocol": {"stage": "a\0b"}}, "protocol.stage"),
        ({"protocol": {"epochz": 3}}, "protocol.epochz"),
        ({"finetune": {"epochs": 10**30}, "finetune_top": 1}, "finetune.epochs"),
        ({"finetune_top": 99}, "finetune_top"),
    ],
    ids=str,
)
def test_a_bad_ranking_request_is_a_problem_document(lab: Lab, changes: dict[str, Any], field: str) -> None:
    check_problem(lab, "/v1/rankings", {"dataset": "gray", "candidates": [GOOD], **changes}, field)


def test_a_candidate_listed_by_id_and_by_name_is_refused(lab: Lab) -> None:
    own = lab.http.get(f"/v1/checkpoints/{GOOD}").json()["id"]
    check_problem(lab, "/v1/rankings", {"dataset": "gray", "candidates": [GOOD, own]}, "candidates.1")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"architecture": "unetz"}, "architecture"),
        ({"spatial_dims": 4}, "spatial_dims"),
        ({"architecture": "wnet", "spatial_dims": 3}, "spatial_dims"),
        ({"parameters": {**OWN, "depth": 5}}, "parameters.depth"),
        ({"parameters": {**OWN, "width": "wide"}}, "parameters.width"),
        ({"parameters": {**OWN, "width": 4.5}}, "parameters.width"),
        ({"parameters": {**OWN, "in_channels": 0}}, "parameters.in_channels"),
        ({"parameters": {"in_channels": 1}}, "parameters.classes"),
        ({"card": {**CARD, "normalisation": {"mean": [0.5, 0.5], "std": [1, 1]}}}, "card.normalisation.mean"),
        ({"card": {**CARD, "normalisation": {"mean": [0.5], "std": [0]}}}, "card.normalisation"),
        ({"card": {**CARD, "normalisation": {"mean": [0.5], "std": []}}}, "card.normalisation"),
        ({"card": {**CARD, "normalisation": {"scale": "magic"}}}, "card.normalisation.scale"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "trailing\n"}, "name"),
        ({"name": SCRIPT}, "name"),
        ({"name": "../../etc"}, "name"),
        ({"name": "x" * 200}, "name"),
        ({"uri": "/tmp/a\0b"}, "uri"),  # noqa: S108
        ({"uri": ""}, "uri"),
    ],
    ids=str,
)
def test_a_bad_checkpoint_request_is_a_problem_document(lab: Lab, changes: dict[str, Any], field: str) -> None:
    body = checkpoint_body("refused", lab.folder / f"{GOOD}.safetensors")
    check_problem(lab, "/v1/checkpoints", {**body, **changes}, field)


OUTCOME = {
    "target": "elsewhere",
    "candidate": "theirs",
    "kind": "outcome",
    "name": "auc",
    "value": 0.5,
    "higher_is_better": True,
}


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"value": "0.5"}], "rows.1.value"),
        ([{"value": True}], "rows.1.value"),
        ([{"value": 10**400}], "rows.1.value"),
        ([{"kind": SCRIPT}], "rows.1.kind"),
        ([{"target": ""}], "rows.1.target"),
        ([{"target": "gray "}], "rows.1.target"),
        ([{"candidate": "a\0b"}], "rows.1.candidate"),
        ([{"candidate": "x" * 501}], "rows.1.candidate"),
        ([{"name": "two\nlines"}], "rows.1.name"),
        ([{"seed": -1}], "rows.1.seed"),
        ([{"seed": 10**30}], "rows.1.seed"),
        ([{"higher_is_better": 1}], "rows.1.higher_is_better"),
        ([{"task": "detection"}], "rows.1.task"),
        ([{"target": "gray", "task": "classification"}], "rows.1.task"),
        ([{"source": "finetune run"}], "rows.1.source"),
        ([{"id": "lg_1"}], "rows.1.id"),
        ([{"value": 0.25}], "rows.1.value"),
        ([{"seed": 1, "cohort": "A"}, {"seed": 2, "cohort": "B"}], "rows.2.cohort"),
    ],
    ids=str,
)
def test_bad_outcomes_are_a_problem_document_and_none_is_kept(
    lab: Lab, rows: list[dict[str, Any]], field: str
) -> None:
    body = {"source": "a paper", "rows": [OUTCOME, *({**OUTCOME, **row} for row in rows)]}
    check_problem(lab, "/v1/outcomes", body, field)
    assert lab.http.get("/v1/outcomes", params={"source": "a paper"}).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"), [({"rows": [OUTCOME]}, "rows.0.source"), ({"source": "a", "rows": []}, "rows")], ids=str
)
def test_outcomes_from_nowhere_and_no_outcomes_are_refused(lab: Lab, body: dict[str, Any], field: str) -> None:
    check_problem(lab, "/v1/outcomes", body, field)


@pytest.mark.parametrize(
    "extra",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        rb'"\ud800"',
        rb'{"\ud800": 1}',
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b"1" * 5000,
    ],
    ids=["nan", "infinity", "overflow", "surrogate", "surrogate key", "deep", "very deep", "long number"],
)
def test_json_that_nobody_else_could_read_is_refused(lab: Lab, extra: bytes) -> None:
    body = json.dumps(checkpoint_body("odd-json", lab.folder / f"{GOOD}.safetensors")).encode()
    body = body.replace(b'"source_data"', b'"remark": ' + extra + b', "source_data"')
    answer = lab.http.post("/v1/checkpoints", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["remedy"]
    assert lab.http.get("/v1/checkpoints/odd-json").status_code == 404


@pytest.mark.parametrize("path", ["/v1/rankings/nothing/cancel", "/v1/finetune-runs/nothing/cancel"])
def test_broken_json_to_an_operation_without_a_body_is_a_problem_too(lab: Lab, path: str) -> None:
    answer = lab.http.post(path, content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code in (400, 404)
    assert answer.json()["errors"]


def test_markup_in_names_and_keys_stays_text_on_the_pages(lab: Lab) -> None:
    folder = lab.folder / f"Ärzte {SCRIPT.replace('/', '')}"
    folder.mkdir()
    marked = "<img src=x onerror=alert(1)>"
    card = {**CARD, "source_task": SCRIPT, "title": f"日本 {marked}", marked: {marked: [marked]}}
    path = folder / f"{marked}.safetensors"
    save_file({**weights(), marked: torch.zeros(1)}, path)
    np.savez(folder / f"{marked}.npz", **arrays(images=None))
    lab.post("/v1/checkpoints", checkpoint_body("marked", path, card=card), 201)
    register_dataset(lab, "marked", folder / f"{marked}.npz", modality=SCRIPT, cohort=marked)
    assert over(lab, "/v1/checkpoints/marked")["state"] == "done"
    assert over(lab, "/v1/datasets/marked")["state"] == "failed"
    ranking = lab.rank("gray", ["marked", GOOD])
    lab.wait_for_ranking(ranking)
    run = lab.post(
        "/v1/finetune-runs", {"dataset": "gray", "checkpoint": "marked", "protocol": {"epochs": 1}}, 202
    )
    assert over(lab, f"/v1/finetune-runs/{run['id']}")["state"] == "done"
    theirs = {"target": SCRIPT, "candidate": marked, "cohort": SCRIPT, "modality": marked}
    rows = [{**OUTCOME, **theirs, "kind": kind, "name": SCRIPT} for kind in ("outcome", "score")]
    rows += [{**row, "candidate": f"{marked}{number}", "value": number} for row in rows for number in range(2)]
    lab.post("/v1/outcomes", {"source": SCRIPT, "rows": rows}, 200)
    pages = [
        "/",
        "/agreement",
        "/datasets/marked",
        "/checkpoints/marked",
        f"/rankings/{ranking}",
        f"/finetune-runs/{run['id']}",
    ]
    for address in [*pages, f"/checkpoints/{SCRIPT.replace('/', '')}", "/checkpoints/odd-more-keys"]:
        page = lab.http.get(address, headers={"accept": "text/html"}).text
        assert "<html" in page
        for markup in ("<script>alert", "<img src=x", "<scriptalert"):
            assert markup not in page


# --- and after all of that -------------------------------------------------------------------------------------


def test_after_all_that_the_service_is_healthy_and_ranks(lab: Lab) -> None:
    assert lab.http.get("/healthz").is_success
    assert lab.http.get("/readyz").is_success
    for path in ("/v1/datasets", "/v1/checkpoints", "/v1/rankings", "/v1/finetune-runs"):
        answer = lab.http.get(path, params={"limit": 100})
        assert answer.is_success
        for row in answer.json()["items"]:
            assert row["state"] in ("done", "failed")
            assert lab.http.get(f"{path}/{row['id']}").is_success
    register_weights(lab, "another", weights(seed=9))
    rows = ranked(lab, "gray", GOOD, "another", protocol={"seed": 99})
    assert {row["state"] for row in rows.values()} == {"done"}
    assert all(row["position"] for row in rows.values())
    assert all(row["attempts"] == 1 for row in rows.values())
