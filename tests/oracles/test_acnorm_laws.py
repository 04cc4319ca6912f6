"""Laws of AC-Norm that need no recorded values."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from worker.science.acnorm.convert import affines, convert, fold
from worker.science.acnorm.equations import calibrated_affines
from worker.science.acnorm.layer import ACNorm, ACNorm1d, ACNorm2d, ACNorm3d
from worker.science.errors import NotApplicableError, ScienceError

KINDS = {1: (ACNorm1d, (6, 5, 7)), 2: (ACNorm2d, (4, 5, 6, 7)), 3: (ACNorm3d, (3, 5, 4, 5, 6))}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def drifted(dims: int, *, dtype=torch.float64, **options) -> ACNorm:
    """A layer away from its source, with a negative and a dead channel."""
    kind, shape = KINDS[dims]
    layer = kind(shape[1], dtype=dtype, **options)
    torch.manual_seed(dims)
    with torch.no_grad():
        layer.source_weight.normal_(1, 0.4)[0] = -0.5
        layer.source_bias.normal_(0, 0.6)
        layer.weight.copy_(layer.source_weight + 0.1 * torch.randn_like(layer.weight))[1] = 0.0
        layer.bias.copy_(layer.source_bias + 0.2 * torch.randn_like(layer.bias))
    return layer


def network(dims: int) -> nn.Sequential:
    torch.manual_seed(dims)
    layers = [
        CONVOLUTIONS[dims](2, 6, 3),
        NORMS[dims](6),
        nn.ReLU(),
        CONVOLUTIONS[dims](6, 4, 3),
        NORMS[dims](4),
    ]
    built = nn.Sequential(*layers)
    for module in built:
        if isinstance(module, tuple(NORMS.values())):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.5)
    return built


def two_norms(layer: ACNorm, x: torch.Tensor) -> torch.Tensor:
    """Eq. 9 as the paper writes it: two normalisations of the same batch, added."""
    with torch.no_grad():
        z_s = layer.source_bias / (layer.source_weight**2 + layer.eps).sqrt()
        z_t = layer.bias / (layer.weight**2 + layer.eps).sqrt()
        C = torch.softmax(-(z_t[:, None] - z_s[None]).abs() / layer.temperature, dim=1)
        C = torch.where(C.diagonal()[:, None] <= C, C, 0)

    def norm(weight, bias):
        return F.batch_norm(x, None, None, weight, bias, True, 0.0, layer.eps)

    return norm(layer.weight, layer.bias) + norm(C @ layer.weight, C @ layer.bias)


@pytest.mark.parametrize("dims", KINDS)
def test_one_norm_equals_two_in_output_and_gradients(dims):
    layer, x = drifted(dims, temperature=0.5), torch.randn(KINDS[dims][1], dtype=torch.float64)
    wanted = (x.requires_grad_(), layer.weight, layer.bias)
    weights = torch.randn_like(x)
    got = torch.autograd.grad((layer(x) * weights).sum(), wanted)
    expected = torch.autograd.grad((two_norms(layer, x) * weights).sum(), wanted)
    torch.testing.assert_close(layer(x), two_norms(layer, x), rtol=1e-12, atol=1e-12)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("dims", KINDS)
def test_fold_gives_the_plain_network_after_training(dims):
    plain = network(dims)
    keys = list(plain.state_dict())
    net = convert(copy.deepcopy(plain), temperature=0.3)
    x = torch.randn(4, 2, *[9] * dims)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()
    folded = fold(net)
    assert list(folded.state_dict()) == keys
    assert not any(isinstance(module, ACNorm) for module in folded.modules())
    plain.load_state_dict(folded.state_dict())
    net.eval()
    torch.testing.assert_close(plain.eval()(x), net(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(folded.eval()(x), net(x), rtol=1e-6, atol=1e-6)
    assert any(isinstance(module, ACNorm) for module in net.modules())  # fold copies


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_follow_torch(momentum):
    layer, plain = ACNorm2d(5, momentum=momentum), nn.BatchNorm2d(5, momentum=momentum)
    for _ in range(3):
        x = torch.randn(4, 5, 6, 7)
        layer(x), plain(x)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(layer, name), getattr(plain, name)), name


def test_fresh_source_averages_all_channels():
    layer = ACNorm2d(8)
    torch.testing.assert_close(layer.correlation(), torch.full((8, 8), 1 / 8))
    with torch.no_grad():
        layer.weight.copy_(torch.arange(8.0))  # bias 0: every z stays 0
    weight, bias = layer.affines()
    torch.testing.assert_close(weight, layer.weight + 3.5)
    assert not bias.any()


def test_one_channel_works():
    layer, x = ACNorm2d(1), torch.randn(2, 1, 3, 3)
    torch.testing.assert_close(layer(x), 2 * nn.BatchNorm2d(1)(x))


def change_in_place(layer):
    with torch.no_grad():
        layer.weight.mul_(1.5)


def change_through_data(layer):
    layer.bias.data.add_(0.3)


def change_source(layer):
    layer.source_bias.data.add_(0.3)


def change_temperature(layer):
    layer.temperature = 0.1


def load_other_state(layer):
    layer.load_state_dict(drifted(1, dtype=torch.float32).state_dict())


def load_by_assignment(layer):
    layer.load_state_dict(drifted(1, dtype=torch.float32).state_dict(), assign=True)


CHANGES = [change_in_place, change_through_data, change_source, change_temperature]
CHANGES += [load_other_state, load_by_assignment, nn.Module.double, nn.Module.train]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_evaluation_keeps_its_affines_until_something_changes(change):
    layer = drifted(2, dtype=torch.float32).eval()
    with torch.no_grad():
        first = layer.affines()
        assert layer.affines()[0] is first[0]
        change(layer)
        layer.eval()
        fresh = ACNorm2d(5, temperature=layer.temperature, dtype=layer.weight.dtype)
        fresh.load_state_dict(layer.state_dict())
        for kept, expected in zip(layer.affines(), fresh.train().affines(), strict=True):
            assert torch.equal(kept, expected)


def test_affines_kept_in_inference_mode_serve_a_later_backward():
    layer = drifted(2, dtype=torch.float32).eval().requires_grad_(False)
    x = torch.randn(KINDS[2][1])
    with torch.inference_mode():
        layer(x)
    layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None


def test_evaluation_passes_gradients_to_the_affines():
    layer = drifted(2).eval()
    layer(torch.randn(KINDS[2][1], dtype=torch.float64)).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    assert layer.bias.grad.abs().sum() > 0


def test_mixed_precision_calibrates_in_float32(monkeypatch):
    """CUDA's autocast would halve Eq. 9; the CPU's doesn't, so look at the switch itself."""
    autocast = []

    def spy(*arguments):
        autocast.append(torch.is_autocast_enabled("cpu"))
        return calibrated_affines(*arguments)

    monkeypatch.setattr("worker.science.acnorm.layer.calibrated_affines", spy)
    layer, x = drifted(2, dtype=torch.float32), torch.randn(KINDS[2][1])
    expected = layer.affines()[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.affines()[0], expected)
        assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert not any(autocast)


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 5, 6, 7).to(memory_format=torch.channels_last)
    assert drifted(2, dtype=torch.float32)(x).is_contiguous(memory_format=torch.channels_last)


def test_layers_are_batch_norms_and_check_shapes():
    for dims, (kind, shape) in KINDS.items():
        assert issubclass(kind, NORMS[dims])
        with pytest.raises(ValueError, match="expected"):
            kind(5)(torch.randn(*shape, 2, 2))


def test_convert_remembers_sources_in_network_order_and_skips():
    net = network(2)
    before = net[1].weight.detach().clone()
    assert convert(net, skip=["4"]) is net
    assert list(affines(net)) == ["1"]
    with torch.no_grad():
        net[1].weight.add_(1)
    found = affines(net)["1"]
    assert torch.equal(found.source_weight, before)
    assert torch.equal(found.target_weight, before + 1)
    assert type(net[4]) is nn.BatchNorm2d


def test_convert_keeps_parameters_and_shared_modules():
    norm = nn.BatchNorm1d(3)
    net = nn.Sequential(norm, nn.ReLU(), norm)
    convert(net)
    assert net[0] is net[2]
    assert net[0].weight is norm.weight
    assert isinstance(convert(nn.BatchNorm1d(3)), ACNorm1d)


def test_convert_refuses():
    bare = [nn.Linear(2, 2), nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2, track_running_stats=False)]
    for net in bare:
        with pytest.raises(NotApplicableError, match="no norm layer to recalibrate"):
            convert(nn.Sequential(net))
    with pytest.raises(ScienceError, match=r"lacks: decoder\.0"):
        convert(network(2), skip=["decoder.0"])
    with pytest.raises(ScienceError, match="temperature"):
        convert(network(2), temperature=0.0)
    broken = network(2)
    nn.init.constant_(broken[1].bias, float("nan"))
    with pytest.raises(ScienceError, match="NaN"):
        convert(broken)
