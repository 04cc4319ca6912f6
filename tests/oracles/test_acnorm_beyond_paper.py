"""AC-Norm on GroupNorm, InstanceNorm and LayerNorm against a restatement by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from worker.science.acnorm.convert import LAYERS, affines, convert, fold, unconverted
from worker.science.acnorm.layer import ACInstanceNorm2d, ACNorm, ACNorm2d
from worker.science.errors import NotApplicableError, ScienceError

K = 6


def by_group(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    rows = x.reshape(len(x), norm.num_groups, -1)
    variance, mean = torch.var_mean(rows, dim=2, correction=0, keepdim=True)
    return ((rows - mean) / (variance + norm.eps).sqrt()).reshape(x.shape)


def by_instance(x: Tensor, norm: nn.InstanceNorm2d) -> Tensor:
    space = tuple(range(2, x.ndim))
    variance, mean = torch.var_mean(x, dim=space, correction=0, keepdim=True)
    if norm.track_running_stats and not norm.training:
        mean = norm.running_mean.reshape(1, K, *[1] * len(space))
        variance = norm.running_var.reshape(1, K, *[1] * len(space))
    return (x - mean) / (variance + norm.eps).sqrt()


def by_layer(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) / (variance + norm.eps).sqrt()


# kind -> a plain layer, its input's shape, its normalisation without affines
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[..., Tensor]]] = {
    "group": (lambda: nn.GroupNorm(2, K), (3, K, 4, 5), by_group),
    "group-3d": (lambda: nn.GroupNorm(3, K, eps=1e-3), (2, K, 3, 4, 2), by_group),
    "instance-1d": (lambda: nn.InstanceNorm1d(K, affine=True), (3, K, 7), by_instance),
    "instance-2d": (lambda: nn.InstanceNorm2d(K, affine=True, eps=1e-3), (3, K, 4, 5), by_instance),
    "instance-3d": (lambda: nn.InstanceNorm3d(K, affine=True), (2, K, 3, 4, 2), by_instance),
    "instance-running": (
        lambda: nn.InstanceNorm2d(K, affine=True, track_running_stats=True, momentum=0.3),
        (3, K, 4, 5),
        by_instance,
    ),
    "layer": (lambda: nn.LayerNorm(K, eps=1e-6), (3, 5, K), by_layer),
    "layer-swin": (lambda: nn.LayerNorm((K,)), (2, 3, 4, K), by_layer),
}
each_kind = pytest.mark.parametrize("kind", CASES)


def plain(kind: str, *, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A pretrained layer: affines and, where there are any, running statistics that differ by channel."""
    torch.manual_seed(len(kind))
    norm = CASES[kind][0]().to(dtype)
    nn.init.normal_(norm.weight, 1, 0.4)
    nn.init.normal_(norm.bias, 0, 0.6)
    if getattr(norm, "running_mean", None) is not None:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def drifted(kind: str, *, dtype: torch.dtype = torch.float64, **options: float) -> ACNorm:
    """The converted layer away from its source, with a negative and a dead channel."""
    layer = convert(plain(kind, dtype=dtype), **options)
    with torch.no_grad():
        layer.weight.add_(0.1 * torch.randn_like(layer.weight))[:2] = torch.tensor([-0.5, 0.0], dtype=dtype)
        layer.bias.add_(0.2 * torch.randn_like(layer.bias))
    return layer


def images(kind: str, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * torch.randn(CASES[kind][1], dtype=dtype) + 0.5


def along_channels(values: Tensor, kind: str) -> Tensor:
    """(K,) so that it broadcasts over the kind's input."""
    return values if kind.startswith("layer") else values.reshape(1, K, *[1] * (len(CASES[kind][1]) - 2))


def two_affines(layer: ACNorm, x: Tensor, kind: str) -> Tensor:
    """Eq. 6-9 as the paper writes them: the target's affines and the recalibrated ones, added."""
    with torch.no_grad():
        z_s = layer.source_bias / (layer.source_weight**2 + layer.eps).sqrt()
        z_t = layer.bias / (layer.weight**2 + layer.eps).sqrt()
        C = torch.softmax(-(z_t[:, None] - z_s[None]).abs() / layer.temperature, dim=1)
        C = torch.where(C.diagonal()[:, None] <= C, C, 0)
    gamma, beta, gamma_c, beta_c = (
        along_channels(values, kind) for values in (layer.weight, layer.bias, C @ layer.weight, C @ layer.bias)
    )
    x = CASES[kind][2](x, layer)
    return (gamma * x + beta) + (gamma_c * x + beta_c)


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_output_and_gradients_are_those_of_two_affines(kind: str, training: bool) -> None:
    layer, x = drifted(kind, temperature=0.5).train(training), images(kind).requires_grad_()
    wanted, weights = (x, layer.weight, layer.bias), torch.randn_like(x)
    expected = two_affines(layer, x, kind)
    got = layer(x)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    pairs = zip(
        torch.autograd.grad((got * weights).sum(), wanted),
        torch.autograd.grad((expected * weights).sum(), wanted),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@each_kind
def test_it_starts_from_the_source_and_differs_from_the_plain_layer(kind: str) -> None:
    norm, x = plain(kind), images(kind)
    layer = convert(copy.deepcopy(norm))
    assert torch.equal(layer.source_weight, norm.weight)
    assert torch.equal(layer.source_bias, norm.bias)
    assert (layer(x) - norm(x)).abs().max() > 1e-3  # each channel is scaled by 1 + C_pp at least


@each_kind
def test_conversion_keeps_the_tensors_the_settings_and_the_mode(kind: str) -> None:
    norm = plain(kind).eval()
    norm.weight.requires_grad_(False)
    layer = convert(norm)
    assert type(layer) is LAYERS[type(norm)]
    assert isinstance(layer, type(norm))
    assert layer.weight is norm.weight
    assert layer.bias is norm.bias
    assert all(dict(layer.named_buffers())[name] is buffer for name, buffer in norm.named_buffers())
    assert not layer.training
    assert layer.source_weight.dtype == torch.float64
    settings = [name for name in vars(norm) if not name.startswith("_")]
    assert {name: getattr(layer, name) for name in settings} == {name: getattr(norm, name) for name in settings}


@each_kind
def test_folding_gives_the_plain_layer_with_the_same_output(kind: str) -> None:
    norm, layer, x = plain(kind), drifted(kind).eval(), images(kind)
    layer.bias.requires_grad_(False)
    folded = fold(nn.Sequential(layer))[0]
    assert type(folded) is type(norm)
    assert repr(folded) == repr(norm)
    assert list(folded.state_dict()) == list(norm.state_dict())
    assert (folded.weight.requires_grad, folded.bias.requires_grad) == (True, False)
    with torch.no_grad():
        assert torch.equal(folded.eval()(x), layer(x))
    assert (folded.weight - layer.weight).abs().max() > 1e-3


@each_kind
def test_a_trained_network_folds_into_the_plain_network(kind: str) -> None:
    shape = CASES[kind][1]
    channels = torch.randn(shape[-1] if kind.startswith("layer") else shape[1])

    def built() -> nn.Sequential:
        return nn.Sequential(plain(kind, dtype=torch.float32), nn.ReLU(), plain(kind, dtype=torch.float32))

    network = convert(built(), temperature=0.3)
    before, x = affines(network), images(kind, dtype=torch.float32)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = (network(x) * along_channels(channels, kind)).square().mean()
    loss.backward()
    optimiser.step()
    assert all(not torch.equal(old.target_weight, affines(network)[p].target_weight) for p, old in before.items())
    whole = built()
    whole.load_state_dict(fold(network).state_dict())  # strict: exactly its keys
    torch.testing.assert_close(whole.eval()(x), network.eval()(x), rtol=1e-5, atol=1e-5)


@each_kind
def test_state_dicts_hold_the_source_and_load_again(kind: str) -> None:
    layer, other = drifted(kind).eval(), convert(plain(kind)).eval()
    assert set(layer.state_dict()) == set(plain(kind).state_dict()) | {"source_weight", "source_bias"}
    other.load_state_dict(layer.state_dict())
    x = images(kind)
    assert torch.equal(other(x), layer(x))


@each_kind
def test_evaluation_keeps_its_affines_until_a_value_changes(kind: str) -> None:
    layer = drifted(kind).eval()
    with torch.no_grad():
        kept = layer.affines()
        assert layer.affines()[0] is kept[0]
        layer.weight.data.mul_(1.5)
        assert not torch.equal(layer.affines()[0], kept[0])


@each_kind
def test_mixed_precision_gives_the_plain_layers_type(kind: str) -> None:
    layer, norm = drifted(kind, dtype=torch.float32), plain(kind, dtype=torch.float32)
    x = images(kind, dtype=torch.bfloat16)
    full = layer(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = layer(x)
        assert got.dtype == norm(x).dtype
    torch.testing.assert_close(got.float(), full, rtol=0.05, atol=0.05)
    got.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.abs().sum() > 0


def test_running_statistics_of_instances_follow_torch() -> None:
    norm = plain("instance-running")
    layer = convert(copy.deepcopy(norm))
    for _ in range(3):
        x = images("instance-running")
        layer(x), norm(x)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(layer, name), getattr(norm, name)), name


def test_one_image_without_a_batch_and_wrong_shapes_are_as_in_torch() -> None:
    layer, x = drifted("instance-2d"), images("instance-2d")
    torch.testing.assert_close(layer(x[0]), layer(x)[0])
    with pytest.raises(ValueError, match="expected 3D or 4D"):
        layer(x[..., None])
    with pytest.raises(ValueError, match="match num_features"):
        layer(x[:, :2])
    with pytest.raises(RuntimeError, match="number of channels"):
        drifted("group")(x[:, :2])
    with pytest.raises(RuntimeError, match="normalized_shape"):
        drifted("layer")(images("layer")[..., :2])


def test_one_channel_works() -> None:
    for norm in (nn.GroupNorm(1, 1), nn.InstanceNorm2d(1, affine=True)):
        x = torch.randn(2, 1, 3, 3)
        torch.testing.assert_close(convert(copy.deepcopy(norm))(x), 2 * norm(x))


def test_a_shared_norm_stays_shared_and_folds_shared() -> None:
    norm = plain("group")
    network = convert(nn.Sequential(norm, nn.ReLU(), norm))
    assert network[0] is network[2]
    assert network[0].weight is norm.weight
    assert list(affines(network)) == ["0"]
    folded = fold(network)
    assert folded[0] is folded[2]
    assert type(folded[0]) is nn.GroupNorm


def test_a_layer_without_affines_is_refused() -> None:
    for build in (lambda: ACNorm2d(3, affine=False), lambda: ACInstanceNorm2d(3)):
        with pytest.raises(ScienceError, match="weight and bias"):
            build()


def monai_default_unet() -> nn.Module:
    return UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))


class OwnNorm(nn.GroupNorm):
    """May compute anything."""


NOT_APPLICABLE = [
    (nn.Conv2d(1, 1, 1), "no norm layer"),
    (nn.InstanceNorm2d(3), "1 InstanceNorm2d without affine parameters"),
    (monai_default_unet(), "4 InstanceNorm2d without affine parameters"),
    (nn.GroupNorm(1, 3, affine=False), "1 GroupNorm without affine parameters"),
    (nn.LayerNorm(3, elementwise_affine=False), "1 LayerNorm without affine parameters"),
    (nn.LayerNorm(3, bias=False), "1 LayerNorm without bias"),
    (nn.LayerNorm((3, 4)), "1 LayerNorm over (3, 4) instead of channels only"),
    (nn.RMSNorm(3), "1 RMSNorm without bias"),
    (nn.BatchNorm2d(3, track_running_stats=False), "1 BatchNorm2d without running statistics"),
    (nn.SyncBatchNorm(3), "1 SyncBatchNorm of a kind that AC-Norm doesn't know"),
    (OwnNorm(1, 3), "1 OwnNorm of a kind that AC-Norm doesn't know"),
    (
        nn.Sequential(nn.RMSNorm(3), nn.LayerNorm((2, 3)), nn.RMSNorm(4)),
        "2 RMSNorm without bias, 1 LayerNorm over (2, 3) instead of channels only",
    ),
]


@pytest.mark.parametrize(("network", "found"), NOT_APPLICABLE, ids=[found for _, found in NOT_APPLICABLE])
def test_what_cannot_be_converted_is_named(network: nn.Module, found: str) -> None:
    state = copy.deepcopy(network.state_dict())
    with pytest.raises(NotApplicableError) as raised:
        convert(nn.Sequential(network))
    assert str(raised.value).endswith(f"the network has {found}")
    assert list(network.state_dict()) == list(state)


def test_norms_without_source_affines_are_named_as_such() -> None:
    with pytest.raises(NotApplicableError, match="1 GroupNorm re-initialised"):
        convert(nn.Sequential(nn.GroupNorm(1, 3)), skip=["0"])


def test_of_a_mixed_network_everything_possible_is_converted() -> None:
    network = nn.Sequential(
        nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm((4, 4)), nn.GroupNorm(2, 4)
    )
    left = unconverted(network, skip=["4"])
    assert left == {
        "1": "InstanceNorm2d without affine parameters",
        "3": "LayerNorm over (4, 4) instead of channels only",
        "4": "GroupNorm re-initialised",
    }
    types = [type(module) for module in network]
    convert(network, skip=["4"])
    assert {path: found.norm for path, found in affines(network).items()} == {"0": "BatchNorm2d", "2": "GroupNorm"}
    assert unconverted(network, skip=["4"]) == left
    assert [type(module) for module in fold(network)] == types


@pytest.mark.parametrize("norm_first", [True, False])
def test_torchs_transformer_takes_the_calibrated_affines_in_evaluation(norm_first: bool) -> None:
    """Without gradients it has a fused form, which reads a LayerNorm's `weight` past its `forward`."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    network = nn.TransformerEncoder(block, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
    norms = [path for path, module in network.named_modules() if isinstance(module, nn.LayerNorm)]
    for path in norms:
        nn.init.normal_(network.get_submodule(path).weight, 1, 0.4)
        nn.init.normal_(network.get_submodule(path).bias, 0, 0.6)
    keys = list(network.state_dict())
    convert(network).eval()
    assert list(affines(network)) == norms
    folded = fold(network)
    assert list(folded.state_dict()) == keys
    x = torch.randn(2, 5, 8)
    expected = network(x)
    with torch.no_grad():
        for output in (network(x), folded(x)):
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
