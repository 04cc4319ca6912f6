"""Dice of the published optic-disc W-Nets on the IDRiD test discs, with no training, at both outputs."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models_zoo.architecture import build
from models_zoo.loading.load import load, read_state_dict, submodule

DISC_CLASSES = (1, 2)  # the disc's rim and the cup inside it
BATCH = 9


def read_discs(shared: Path) -> tuple[Tensor, Tensor]:
    """Images (27, 3, 256, 256) in [0, 1] and disc masks (27, 256, 256) of the IDRiD test split."""
    with np.load(shared / "data" / "idrid_seg_2d" / "idrid_seg_256.npz") as data:
        test = data["split"] == "test"
        disc = data["mask_names"].tolist().index("OD")
        images = data["images"][test].transpose(0, 3, 1, 2).astype(np.float32) / 255
        masks = np.unpackbits(data["masks"][test][:, disc], axis=-1).astype(bool)
    return torch.from_numpy(images), torch.from_numpy(masks)


def disc_files(shared: Path) -> list[Path]:
    """The eight checkpoints trained on disc and cup."""
    return sorted((shared / "checkpoints" / "wnet_small").glob("automorph_wnet_disccup_*.pth"))


def dice_of_disc(logits: Tensor, masks: Tensor) -> float:
    """Mean over images of the Dice of the union of DISC_CLASSES; logits (N, 3, H, W), masks (N, H, W)."""
    disc = torch.isin(logits.argmax(dim=1), torch.tensor(DISC_CLASSES))
    overlap = (disc & masks).sum(dim=(1, 2))
    return float((2 * overlap / (disc.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)))).mean())


def dice_at_both_outputs(path: Path, images: Tensor, masks: Tensor) -> tuple[float, float]:
    """Dice of the first and the second U-Net's output of the checkpoint at `path`."""
    network = build("wnet", spatial_dims=2, in_channels=3, classes=3)
    load(network, read_state_dict(path))
    first: list[Tensor] = []
    submodule(network, "unet1").register_forward_hook(lambda *call: first.append(call[-1]))
    network.module.eval()
    with torch.inference_mode():
        second = [network.module(batch) for batch in images.split(BATCH)]
    return dice_of_disc(torch.cat(first), masks), dice_of_disc(torch.cat(second), masks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and checkpoints/")
    shared = parser.parse_args().shared
    images, masks = read_discs(shared)
    print("| checkpoint | first U-Net | second U-Net |\n|---|---:|---:|")
    for path in disc_files(shared):
        first, second = dice_at_both_outputs(path, images, masks)
        print(f"| {path.stem} | {first:.3f} | {second:.3f} |")


if __name__ == "__main__":
    main()
