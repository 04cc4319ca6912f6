"""How many features each stage of a network gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from models_zoo import architecture as registry
from models_zoo.architecture import Network, Outputs
from models_zoo.machine import is_out_of_memory
from worker.science.module_outputs import outputs_of
from worker.science.specs import CandidateSpec

SIDE = 32  # voxels a side of the image that is shown, at least: MONAI's DenseNet halves it five times


@dataclass(frozen=True)
class StageWidths:
    """Channels of every stage by its name, and the stage whose features are used where a protocol names none."""

    widths: Mapping[str, int]  # empty where the network takes no such image
    usual: str


def stage_widths(network: Network, spec: CandidateSpec) -> StageWidths:
    """The widths of the stages of this candidate's network, by an empty image of twice its divisor a side."""
    usual = usual_stage(network, registry.architectures()[spec.architecture].outputs)
    side = -(-SIDE // (2 * network.divisor)) * 2 * network.divisor  # two voxels where an instance norm may stand
    image = torch.zeros(1, spec.in_channels, *(side,) * spec.spatial_dims)
    module = network.module.eval()
    try:
        with torch.no_grad(), outputs_of(module, network.stages.values()) as outputs:
            module(image)
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return StageWidths({}, usual)
    return StageWidths({name: outputs[path].shape[1] for name, path in network.stages.items()}, usual)


def usual_stage(network: Network, outputs: Outputs) -> str:
    """The stage that features are taken from: the last of a decoder for voxels, the encoder for images."""
    return list(network.stages)[-1] if outputs is Outputs.VOXEL else "encoder"
