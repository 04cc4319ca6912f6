"""What every registered architecture promises, in every dimension it declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models_zoo.architecture import Architecture, Network, Outputs, architectures, build
from models_zoo.errors import ZooError
from models_zoo.loading.load import load, norm_census, replace_head, submodule
from models_zoo.norms import KINDS, Norm
from worker.science.acnorm.convert import affines, convert
from worker.science.target_tasks.registry import target_tasks, tasks_for

# an architecture not named here is built with its defaults; small values only keep the suite quick
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 2},
    "unet_classifier": {"width": 2},
    "basic_unet": {"features": [2, 2, 4, 4, 8, 2]},
    "resnet": {"depth": 10, "width": 2},
    "densenet": {"init_features": 4, "growth_rate": 2, "block_config": [1, 2, 1]},
    "wnet": {"layers": [2, 4, 8]},
    "wnet_first": {"layers": [2, 4, 8]},
}
GROUPS = 2  # divides the channels of the small networks
TYPES = {"batch": "BatchNorm{}d", "group": "GroupNorm", "instance": "InstanceNorm{}d"}


def kinds(architecture: Architecture) -> tuple[str, ...]:
    """The norms that it can be built with; all have BatchNorm."""
    return KINDS if "norm" in architecture.parameters else ("batch",)


CASES = [(name, dims, norm) for name, a in architectures().items() for dims in a.spatial_dims for norm in kinds(a)]
BATCH, CHANNELS, CLASSES = 2, 3, 4

pytestmark = pytest.mark.parametrize(
    ("name", "dims", "norm"),
    CASES,
    ids=[f"{name}-{dims}d-{norm}" for name, dims, norm in CASES],
    indirect=["norm"],
)


@pytest.fixture(autouse=True)
def norm(request: pytest.FixtureRequest, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The case's norm; `small` builds with it."""
    chosen: str = request.param
    if chosen != "batch":  # the default, whether or not there is a choice
        monkeypatch.setitem(SMALL, name, {**SMALL[name], "norm": chosen, "groups": GROUPS})
    return chosen


def small(name: str, dims: int, *, classes: int = CLASSES) -> Network:
    return build(name, spatial_dims=dims, in_channels=CHANNELS, classes=classes, **SMALL.get(name, {}))


def image(network: Network, dims: int) -> Tensor:
    """A batch whose sizes differ by axis and are the smallest worth having for the divisor."""
    step = max(network.divisor, 8)
    return torch.rand(BATCH, CHANNELS, *[step * (1 + axis % 2) for axis in range(dims)])


def recorder(into: dict[str, tuple[Tensor, Tensor]], stage: str) -> Callable[..., None]:
    def record(module: nn.Module, inputs: Any, output: Tensor) -> None:
        into[stage] = (output, output.clone())

    return record


def test_gives_logits_of_the_tasks_shape(name: str, dims: int) -> None:
    network = small(name, dims)
    x = image(network, dims)
    expected = (
        (BATCH, CLASSES, *x.shape[2:]) if architectures()[name].outputs is Outputs.VOXEL else (BATCH, CLASSES)
    )
    torch.nn.init.constant_(network.module.get_submodule(network.head).bias, -1e3)
    logits = network.module(x)
    assert logits.shape == expected
    assert logits.isfinite().all()
    assert (logits < 0).all()  # raw: neither a sigmoid nor a softmax gives a negative value


def test_declares_known_tasks_and_defaults(name: str, dims: int) -> None:
    architecture = architectures()[name]
    tasks = tasks_for(architecture.outputs)
    assert tasks
    assert set(tasks) <= set(target_tasks())
    assert architecture.summary
    assert set(SMALL.get(name, {})) <= set(architecture.parameters)


def test_every_norm_is_of_the_chosen_kind_and_ac_norm_takes_it(name: str, dims: int, norm: str) -> None:
    network = small(name, dims)
    (counted,) = norm_census(network.module)
    assert counted.type == TYPES[norm].format(dims)
    convert(network.module)
    assert len(affines(network.module)) == counted.layers


def test_the_last_encoder_norm_is_one_of_the_encoder_that_ac_norm_takes(name: str, dims: int) -> None:
    network = small(name, dims)
    assert network.last_encoder_norm is not None
    assert network.last_encoder_norm.startswith(network.stages["encoder"])
    convert(network.module)
    assert network.last_encoder_norm in affines(network.module)


def test_no_norm_of_the_encoder_runs_after_the_last_one(name: str, dims: int) -> None:
    """Of the encoder stage's norms, shortcuts (norms beside the main path) aside."""
    network = small(name, dims)
    ran: list[str] = []
    for path, module in network.module.named_modules():
        beside = "shortcut" in path or "downsample" in path
        if isinstance(module, Norm) and path.startswith(network.stages["encoder"]) and not beside:
            module.register_forward_hook(lambda *_, path=path: ran.append(path))
    network.module(image(network, dims))
    assert ran[-1] == network.last_encoder_norm


def test_every_stage_gives_a_map_that_stays_as_it_was(name: str, dims: int) -> None:
    network = small(name, dims)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for stage, path in network.stages.items():
        submodule(network, path).register_forward_hook(recorder(seen, stage))
    x = image(network, dims)
    network.module(x)
    assert list(seen) == list(network.stages)  # run in the order they are listed
    for output, at_once in seen.values():
        assert output.shape[0] == BATCH
        assert output.ndim == 2 + dims
        assert torch.equal(output, at_once)


def test_stages_are_named_in_order_and_the_decoder_ends_at_full_size(name: str, dims: int) -> None:
    network = small(name, dims)
    decoder = [f"decoder_{place}" for place in range(1, len(network.stages))]
    assert list(network.stages) == ["encoder", *decoder]
    if decoder:
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        submodule(network, network.stages[decoder[-1]]).register_forward_hook(recorder(seen, "last"))
        x = image(network, dims)
        network.module(x)
        assert seen["last"][0].shape[2:] == x.shape[2:]


def test_the_last_norm_learns_from_the_loss(name: str, dims: int) -> None:
    network = small(name, dims)
    network.module(image(network, dims)).square().mean().backward()
    assert network.last_encoder_norm is not None
    gradient = submodule(network, network.last_encoder_norm).get_parameter("weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_the_head_is_replaced_by_one_of_other_classes(name: str, dims: int) -> None:
    network = small(name, dims)
    replace_head(network, CLASSES + 3, seed=0)
    assert network.module(image(network, dims)).shape[1] == CLASSES + 3


def test_its_own_state_loads_whole_and_gives_the_same_logits(name: str, dims: int) -> None:
    source, target = small(name, dims), small(name, dims)
    x = image(source, dims)
    source.module(x)  # moves the running statistics off their start
    report = load(target, source.module.state_dict())
    assert report.percent_loaded == 100
    assert (report.loaded, report.reinitialised, report.unused) == (report.tensors, (), ())
    assert torch.equal(source.module.eval()(x), target.module.eval()(x))


def test_its_file_shows_what_it_was_built_with(name: str, dims: int, norm: str) -> None:
    """Nothing else: strides, and which of two norms with the same tensors, show in no file."""
    shapes = {key: tuple(tensor.shape) for key, tensor in small(name, dims).module.state_dict().items()}
    shown = architectures()[name].recognise(shapes)
    built = {"spatial_dims": dims, "in_channels": CHANNELS, "classes": CLASSES, **architectures()[name].parameters}
    built |= SMALL.get(name, {})
    if norm == "group":
        shown["norm"] = norm
    assert {key: value for key, value in shown.items() if value != built[key]} == {}
    assert {"spatial_dims", "in_channels"} < set(shown)
    with pytest.raises(LookupError):
        architectures()[name].recognise({"weight": (3, 3)})


def test_its_file_without_the_head_shows_all_but_the_classes(name: str, dims: int) -> None:
    network = small(name, dims)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.module.state_dict().items()}
    body = {key: shape for key, shape in shapes.items() if not key.startswith(f"{network.head}.")}
    assert len(body) < len(shapes)
    recognise = architectures()[name].recognise
    whole, shown = recognise(shapes), recognise(body)
    assert set(whole) - set(shown) <= {"classes"}
    assert shown == {key: whole[key] for key in shown}


def test_a_state_of_other_classes_leaves_only_the_head(name: str, dims: int) -> None:
    source, target = small(name, dims), small(name, dims, classes=CLASSES + 1)
    report = load(target, source.module.state_dict(), allow_partial=True)
    if name == "wnet":  # its second U-Net sees the source's logits, so more than the head follows the classes
        assert network_parts(report.reinitialised_modules()) == {"unet1", "unet2"}
    else:
        assert report.percent_loaded == 100
        assert report.reinitialised_modules() == (target.head,)


def network_parts(paths: tuple[str, ...]) -> set[str]:
    return {path.split(".")[0] for path in paths}


def test_wrong_values_are_refused_by_name(name: str, dims: int) -> None:
    for parameter, default in architectures()[name].parameters.items():
        wrong = "many" if not isinstance(default, str) else 3
        with pytest.raises(ZooError, match=rf"{parameter} must"):
            build(name, spatial_dims=dims, in_channels=1, classes=2, **{parameter: wrong})
    for field in ("in_channels", "classes"):
        with pytest.raises(ZooError, match=rf"{field} must be a whole number of at least 1"):
            build(name, **{"spatial_dims": dims, "in_channels": 1, "classes": 1, field: 0})
