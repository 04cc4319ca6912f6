"""What every card of the catalogue promises; no weights are needed."""

from __future__ import annotations

import pytest
import torch

from models_zoo.architecture import build
from models_zoo.card import Card, cards, normalise


@pytest.mark.parametrize("card", cards().values(), ids=cards())
def test_a_card_builds_its_network_and_feeds_it(card: Card) -> None:
    network = build(card.architecture, spatial_dims=card.spatial_dims, **card.parameters)
    shape = (1, card.parameters["in_channels"], *[max(network.divisor, 8)] * card.spatial_dims)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    logits = network.module.eval()(normalise(images, card.normalisation, value_range=(0, 255)))
    assert logits.shape[:2] == (1, card.parameters["classes"])


def test_no_two_cards_name_the_same_weights() -> None:
    digests = [card.sha256 for card in cards().values()]
    assert len(digests) == len(set(digests)) > 0
