"""AC-Corr: how far one epoch of AC-Norm moved the channels of the last encoder norm (Eq. 10)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from worker.science import flags
from worker.science.acnorm.equations import (
    channel_correlation,
    channel_ratio,
    check_affines,
    check_temperature,
    correlation_sum,
    keep_correlated,
)
from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Affines, Evidence, Part, gathered
from worker.science.flags import Flag, raised
from worker.science.measures.registry import DEGENERATE, EVERY_KIND, Score, register

TIE_DISTANCE = 1e-6  # z nearer than this is one z: no training moves it less
TIED_SHARE = 0.5  # above this share of tied channels, ties and not drift decide the sum
SPREAD_OVER_DRIFT = 10.0  # below this ratio the drift mixes channels, and the sum saturates
DEAD_WEIGHT = 3e-3  # about sqrt(1e-5): below it eps and not gamma decides Eq. 6
LOW_SPREAD = flags.register(
    Flag(
        "low_spread",
        "The affine parameters moved far in comparison with how far apart the channels are. There AC-Corr mostly "
        "measures how far they moved.",
    )
)
BEYOND_PAPER = flags.register(
    Flag(
        "beyond_paper",
        "AC-Norm recalibrated norm layers other than BatchNorm (GroupNorm, InstanceNorm or LayerNorm), which its "
        "paper leaves to future work. Don't compare this AC-Corr with that of a BatchNorm network.",
    )
)
MIXED_WIDTHS = flags.register(
    Flag(
        "mixed_widths",
        "The candidates' layers have different widths. AC-Corr grows with the width, so its values can't be "
        "compared between candidates of different widths.",
        differs="width",
    )
)
PAPER = "AC-Norm, Eq. 10"


@dataclass(frozen=True)
class LayerCorrelation:
    """Every form of AC-Corr for one layer, with figures on how far to trust it."""

    ac_corr: float  # the paper's sum, between 1 and channels
    ac_corr_per_channel: float
    ac_corr_excess: float  # (ac_corr - zero_drift) / channels
    zero_drift: float  # ac_corr of the source against itself
    channels: int
    tied_share: float
    dead_share: float
    mean_drift: float  # mean |z_target - z_source|
    spread: float  # standard deviation of z_source

    @property
    def flags(self) -> tuple[str, ...]:
        """`degenerate` when ties decide the value, `low_spread` when the drift exceeds the spread."""
        degenerate = self.channels == 1 or self.tied_share > TIED_SHARE
        low = self.spread < SPREAD_OVER_DRIFT * self.mean_drift
        return raised({DEGENERATE: degenerate, LOW_SPREAD: low})


def layer_correlation(affines: Affines, *, temperature: float = 1.0) -> LayerCorrelation:
    """AC-Corr of one layer in float64 (AC-Norm, Eq. 6-8 and 10); raises ScienceError for bad affines."""
    check_temperature(temperature)
    vectors = (affines.source_weight, affines.source_bias, affines.target_weight, affines.target_bias)
    check_affines(*vectors)
    gamma, beta, target_gamma, target_beta = (vector.detach().double() for vector in vectors)
    source = channel_ratio(gamma, beta, eps=affines.eps)  # (K,)
    target = channel_ratio(target_gamma, target_beta, eps=affines.eps)  # (K,)
    raw, zero = _sum(target, source, temperature), _sum(source, source, temperature)
    channels = len(source)
    return LayerCorrelation(
        ac_corr=raw,
        ac_corr_per_channel=raw / channels,
        ac_corr_excess=(raw - zero) / channels,
        zero_drift=zero,
        channels=channels,
        tied_share=_tied_share(source),
        dead_share=float((gamma.abs() < DEAD_WEIGHT).double().mean()),
        mean_drift=float((target - source).abs().mean()),
        spread=float(source.std(correction=0)),
    )


@register(
    title="AC-Corr",
    source=PAPER,
    labels=EVERY_KIND,
    needs={Part.AFFINES},
    list_flags={MIXED_WIDTHS},
)
def ac_corr(evidence: Evidence) -> Score:
    """The paper's sum; between 1 and K, so only layers of one width compare."""
    return _score(evidence, "ac_corr")


@register(
    title="AC-Corr per channel",
    source=f"{PAPER}, divided by K",
    labels=EVERY_KIND,
    needs={Part.AFFINES},
    list_flags={MIXED_WIDTHS},
)
def ac_corr_per_channel(evidence: Evidence) -> Score:
    """The sum over K; between 1/K and 1."""
    return _score(evidence, "ac_corr_per_channel")


@register(
    title="AC-Corr above zero drift",
    source=f"{PAPER}, less its value without drift, divided by K",
    labels=EVERY_KIND,
    needs={Part.AFFINES},
    list_flags={MIXED_WIDTHS},
)
def ac_corr_excess(evidence: Evidence) -> Score:
    """What the drift added per channel; 0 without drift and for a fully tied source, may be negative."""
    return _score(evidence, "ac_corr_excess")


def _score(evidence: Evidence, form: str) -> Score:
    path, moved = evidence.last_encoder_norm, gathered(evidence.affines, Part.AFFINES)
    if path is None:
        raise NotApplicableError("the network's encoder has no norm layer; AC-Corr is defined on one")
    if path not in moved:
        why = evidence.unconverted.get(path, "without source affines")
        raise NotApplicableError(f"AC-Norm can't recalibrate the last encoder norm {path}: {why}")
    layers = {
        name: layer_correlation(affines, temperature=evidence.temperature) for name, affines in moved.items()
    }
    last = layers[path]
    per_layer = {name: {"norm": moved[name].norm, **asdict(layer)} for name, layer in layers.items()}
    record = {"layer": path, "norm": moved[path].norm, "temperature": evidence.temperature}
    beyond = any(affines.beyond_paper for affines in moved.values())
    return Score(
        getattr(last, form),
        last.flags + raised({BEYOND_PAPER: beyond}),
        {**record, **asdict(last), "layers": per_layer},
    )


def _sum(target: Tensor, source: Tensor, temperature: float) -> float:
    kept = keep_correlated(channel_correlation(target, source, temperature=temperature))
    return float(correlation_sum(kept))


def _tied_share(z: Tensor) -> float:
    """The share of channels with another channel within TIE_DISTANCE."""
    near = z.sort().values.diff() <= TIE_DISTANCE  # (K - 1,)
    edge = torch.zeros(1, dtype=torch.bool, device=z.device)
    return float((torch.cat((near, edge)) | torch.cat((edge, near))).double().mean())
