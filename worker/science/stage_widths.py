"""How many features each stage of a network gives, which its architecture says without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from models_zoo import architecture as registry
from models_zoo.architecture import Network, Outputs
from worker.science.module_outputs import outputs_of
from worker.science.specs import CandidateSpec

SIDE = 64  # voxels a side of the image whose shape is followed through the network, at least


@dataclass(frozen=True)
class StageWidths:
    """Channels of every stage by its name, and the stage whose features are used where a protocol names none."""

    widths: Mapping[str, int]  # empty where the network can't be followed
    usual: str


def stage_widths(spec: CandidateSpec) -> StageWidths:
    """The widths of a candidate's stages; only shapes are computed, so it takes no memory and no weights."""
    with torch.device("meta"):
        network = registry.build(spec.architecture, **spec.settings)
    usual = usual_stage(network, registry.architectures()[spec.architecture].outputs)
    side = -(-SIDE // network.divisor) * network.divisor
    image = torch.zeros(1, spec.in_channels, *(side,) * spec.spatial_dims, device="meta")
    module = network.module.eval()
    try:
        with torch.no_grad(), outputs_of(module, network.stages.values()) as outputs:
            module(image)
    except RuntimeError:  # an operation that has no rule for shapes alone
        return StageWidths({}, usual)
    return StageWidths({name: outputs[path].shape[1] for name, path in network.stages.items()}, usual)


def usual_stage(network: Network, outputs: Outputs) -> str:
    """The stage that features are taken from: the last of a decoder for voxels, the encoder for images."""
    return list(network.stages)[-1] if outputs is Outputs.VOXEL else "encoder"
