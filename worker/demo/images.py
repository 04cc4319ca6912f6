"""Procedural photographs of vessel-like trees with a bright disc, under domain shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SIZE = 64
TRUNKS = 5
STEPS = 34
BRANCHING = 0.06
Image = NDArray[np.float64]


@dataclass(frozen=True)
class Domain:
    """How a camera sees: colours (RGB, 0-1) of ground, vessels and disc, blur and noise, stripes."""

    ground: tuple[float, float, float]
    vessel: tuple[float, float, float]
    disc: tuple[float, float, float]
    blur: float = 0.5
    noise: float = 0.04
    stripes: float = 0.0


TARGET = Domain((0.70, 0.35, 0.15), (0.45, 0.14, 0.08), (0.95, 0.80, 0.45), blur=0.7, noise=0.06)
NEAR = Domain((0.62, 0.28, 0.12), (0.38, 0.10, 0.06), (0.92, 0.72, 0.40), noise=0.05)
FAR = Domain((0.10, 0.12, 0.14), (0.75, 0.78, 0.80), (0.30, 0.30, 0.32), blur=0.3, noise=0.03, stripes=0.12)


def photographs(
    domain: Domain, count: int, *, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, SIZE, SIZE, 3), vessel masks and disc masks (N, SIZE, SIZE) of 0 and 1."""
    random = np.random.default_rng(seed)
    made = [_photograph(domain, random) for _ in range(count)]
    images, vessels, discs = (np.stack(parts) for parts in zip(*made, strict=True))
    return images, vessels, discs


def _photograph(domain: Domain, random: np.random.Generator) -> tuple[NDArray[np.uint8], ...]:
    centre = random.uniform(0.3, 0.7, size=2) * SIZE
    disc = _blob(centre, random.uniform(4.5, 6.5))
    vessels = _tree(centre, random)
    light = 1 + 0.25 * gaussian_filter(random.standard_normal((SIZE, SIZE)), 12) * 12
    rows = np.arange(SIZE)[:, None] * random.uniform(0.5, 1.0)
    light = light + domain.stripes * np.sin(rows)
    image = np.ones((SIZE, SIZE, 3)) * domain.ground
    image = _paint(image, gaussian_filter(disc, 1.0), domain.disc)
    image = _paint(image, gaussian_filter(vessels, domain.blur), domain.vessel) * light[..., None]
    image = image + domain.noise * random.standard_normal(image.shape)
    mask = vessels > 0.5
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), mask.astype(np.uint8), (disc > 0.5).astype(np.uint8)


def _paint(image: Image, share: Image, colour: tuple[float, float, float]) -> Image:
    return image * (1 - share[..., None]) + share[..., None] * np.asarray(colour)


def _blob(centre: NDArray[np.float64], radius: float) -> Image:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return np.clip(radius - distance + 0.5, 0, 1)


def _tree(centre: NDArray[np.float64], random: np.random.Generator) -> Image:
    """Branches that leave the disc, bend, fork and grow thinner."""
    canvas = np.zeros((SIZE, SIZE))
    start = random.uniform(0, 2 * np.pi)
    branches = [(centre.copy(), start + 2 * np.pi * i / TRUNKS, 1.6, STEPS) for i in range(TRUNKS)]
    while branches:
        place, angle, radius, steps = branches.pop()
        for step in range(steps):
            angle += random.normal(0, 0.16)
            place = place + np.array((np.sin(angle), np.cos(angle)))
            if not (place.min() >= 0 and place.max() < SIZE):
                break
            _stamp(canvas, place, radius)
            radius = max(radius * 0.985, 0.6)
            if random.random() < BRANCHING:
                turn = random.choice((-1, 1)) * random.uniform(0.5, 0.9)
                branches.append((place.copy(), angle + turn, radius * 0.8, steps - step - 1))
    return canvas


def _stamp(canvas: Image, place: NDArray[Any], radius: float) -> None:
    top, left = (max(int(at) - 2, 0) for at in place)
    rows, columns = np.mgrid[top : min(top + 6, SIZE), left : min(left + 6, SIZE)]
    ink = np.clip(radius - np.hypot(rows - place[0], columns - place[1]) + 0.5, 0, 1)
    window = canvas[top : top + 6, left : left + 6]
    np.maximum(window, ink, out=window)
