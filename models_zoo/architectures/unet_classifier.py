"""The encoder of the U-Net with a linear head, so that a U-Net's checkpoint can answer for whole images."""

from __future__ import annotations

from torch import Tensor, nn

from models_zoo.architecture import Network, Outputs, register
from models_zoo.architectures.unet import ENCODER, LAST_ENCODER_NORM, Encoder, recognise_encoder
from models_zoo.norms import GROUPS, NormChoice
from models_zoo.parameters import count

DECODER = ("up_tr256.", "up_tr128.", "up_tr64.", "out_tr.")


class UNetClassifier(Encoder):
    """Mean of the bottleneck over space, then a linear layer: (B, in_channels, *space) -> (B, classes)."""

    def __init__(self, spatial_dims: int, in_channels: int, *, classes: int, width: int, norm: NormChoice) -> None:
        super().__init__(spatial_dims, in_channels, width=width, norm=norm)
        self.fc = nn.Linear(16 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        bottleneck = self.encode(x)[-1]
        logits: Tensor = self.fc(bottleneck.flatten(2).mean(dim=2))
        return logits


@register(
    summary="encoder of the U-Net, linear head",
    outputs=Outputs.IMAGE,
    spatial_dims=(2, 3),
    recognise=recognise_encoder,  # a U-Net's file has no linear head, so the classes are the registration's
)
def unet_classifier(
    *,
    spatial_dims: int,
    in_channels: int,
    classes: int,
    width: int = 32,
    norm: str = "batch",
    groups: int = GROUPS,
) -> Network:
    """`width`, `norm` and `groups` as in `unet`, whose checkpoints this one loads."""
    return Network(
        module=UNetClassifier(
            spatial_dims,
            in_channels,
            classes=classes,
            width=count("width", width),
            norm=NormChoice(norm, groups),
        ),
        last_encoder_norm=LAST_ENCODER_NORM,
        stages={"encoder": ENCODER},
        head="fc",
        divisor=8,
        unused_prefixes=dict.fromkeys(DECODER, "decoder of the source U-Net, not part of the classifier"),
    )
