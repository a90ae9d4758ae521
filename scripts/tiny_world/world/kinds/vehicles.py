"""Kinds of boats and cars."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import (
    DARK,
    GLASS,
    PALE,
    WOOD,
    Part,
    band,
    bow,
    box,
    ellipse,
    polygon,
)


def sloop(rng: np.random.Generator) -> list[Part]:
    deck, sail, jib = rng.uniform(0.35, 0.45), rng.uniform(0.55, 0.75), rng.uniform(0.4, 0.6)
    return [
        Part(box(-0.04, -0.95, 0.04, deck), DARK),
        Part(polygon((0.08, -0.92), (0.08, deck - 0.1), (sail + 0.1, deck - 0.1))),
        Part(polygon((-0.08, -0.75), (-0.08, deck - 0.1), (-jib - 0.1, deck - 0.1))),
        Part(polygon((-0.92, deck), (0.92, deck), (0.6, 0.88), (-0.6, 0.88)), WOOD),
    ]


def rowing_boat(rng: np.random.Generator) -> list[Part]:
    rise, keel = rng.uniform(-0.25, -0.1), rng.uniform(0.5, 0.6)
    gunwale = bow((-0.95, rise), (0, 0.3), (0.95, rise))
    bottom = bow((0.95, rise), (0.7, keel + 0.15), (0.0, keel))
    hull = np.concatenate([gunwale, bottom, bow((0, keel), (-0.7, keel + 0.15), (-0.95, rise))])
    oars = [band(polygon((x, -0.5), (x + 0.3, 0.85)), 0.07) for x in (-0.45, 0.15)]
    blades = [Part(ellipse(x + 0.31, 0.8, 0.1, 0.17), WOOD) for x in (-0.45, 0.15)]
    return [Part(hull), *(Part(oar, WOOD) for oar in oars), *blades]


def steamer(rng: np.random.Generator) -> list[Part]:
    deck, top = rng.uniform(0.2, 0.3), rng.uniform(-0.25, -0.1)
    funnels = [
        Part(polygon((x, -0.85), (x + 0.22, -0.85), (x + 0.18, top), (x - 0.04, top)))
        for x in (-0.35, 0.15)
    ]
    ports = [Part(box(x, top + 0.1, x + 0.14, top + 0.24), GLASS) for x in (-0.5, -0.2, 0.1, 0.4)]
    hull = polygon((-0.97, deck - 0.12), (0.97, deck), (0.82, 0.8), (-0.72, 0.8))
    return [*funnels, Part(box(-0.65, top, 0.65, deck + 0.1), PALE), *ports, Part(hull)]


def longship(rng: np.random.Generator) -> list[Part]:
    wide, yard = rng.uniform(0.55, 0.68), rng.uniform(-0.88, -0.78)
    path = np.concatenate(
        [
            bow((-0.82, -0.35), (-0.98, 0.5), (-0.3, 0.62)),
            bow((-0.3, 0.62), (1.0, 0.75), (0.84, -0.25)),
        ]
    )
    hull = np.concatenate(
        [
            bow((-0.93, 0.2), (0, 0.5), (0.93, 0.2)),
            bow((0.93, 0.2), (0.6, 0.88), (0, 0.88)),
            bow((0, 0.88), (-0.6, 0.88), (-0.93, 0.2)),
        ]
    )
    sail = np.concatenate(
        [
            polygon((-wide, yard), (wide, yard)),
            bow((wide * 0.92, 0.1), (0, 0.3), (-wide * 0.92, 0.1)),
        ]
    )
    return [
        Part(box(-0.04, -0.97, 0.04, 0.4), DARK),
        Part(band(path, 0.13), WOOD),
        Part(hull, WOOD),
        Part(sail),
    ]


def motor_boat(rng: np.random.Generator) -> list[Part]:
    deck, rake = rng.uniform(0.0, 0.12), rng.uniform(0.15, 0.3)
    hull = np.concatenate(
        [
            polygon((0.92, deck - 0.05), (0.86, 0.5), (-0.3, 0.55)),
            bow((-0.3, 0.55), (-0.7, 0.45), (-0.97, deck - 0.15)),
        ]
    )
    screen = polygon((-0.35, deck), (-0.35 + rake, -0.42), (-0.25 + rake, -0.42), (0.05, deck))
    return [
        Part(box(0.78, -0.25, 0.97, 0.5), DARK),
        Part(screen, GLASS),
        Part(polygon((0.1, deck), (0.15, -0.2), (0.6, -0.2), (0.65, deck)), PALE),
        Part(hull),
    ]


def _wheels(radius: float, y: float, *places: float) -> list[Part]:
    tyres = [Part(ellipse(x, y, radius, radius), DARK) for x in places]
    return [*tyres, *(Part(ellipse(x, y, radius * 0.42, radius * 0.42), PALE) for x in places)]


def saloon_car(rng: np.random.Generator) -> list[Part]:
    roof, front, back = rng.uniform(-0.7, -0.58), rng.uniform(0.3, 0.5), rng.uniform(-0.7, -0.5)
    cabin = polygon((back - 0.1, 0.0), (back + 0.1, roof), (front - 0.1, roof), (front + 0.2, 0.0))
    window = polygon(
        (back + 0.1, -0.1), (back + 0.2, roof + 0.14), (front - 0.16, roof + 0.14), (front, -0.1)
    )
    low = polygon((-0.95, -0.06), (0.7, -0.1), (0.95, 0.1), (0.95, 0.5), (-0.95, 0.5))
    return [Part(cabin), Part(window, GLASS), Part(low), *_wheels(0.25, 0.5, -0.52, 0.52)]


def bus_car(rng: np.random.Generator) -> list[Part]:
    roof, nose = rng.uniform(-0.78, -0.65), rng.uniform(0.86, 0.95)
    body = polygon((-0.95, roof), (nose - 0.08, roof), (nose, 0.0), (nose, 0.6), (-0.95, 0.6))
    panes = [Part(box(x, roof + 0.16, x + 0.34, -0.08), GLASS) for x in (-0.84, -0.42, 0.0, 0.44)]
    return [Part(body), *panes, *_wheels(0.21, 0.62, -0.56, 0.52)]


def pickup_car(rng: np.random.Generator) -> list[Part]:
    roof, bed = rng.uniform(-0.66, -0.52), rng.uniform(-0.15, -0.02)
    body = polygon(
        (-0.95, bed),
        (0.0, bed),
        (0.0, roof),
        (0.45, roof),
        (0.62, -0.12),
        (0.95, -0.05),
        (0.95, 0.46),
        (-0.95, 0.46),
    )
    window = polygon((0.1, roof + 0.12), (0.4, roof + 0.12), (0.52, -0.1), (0.1, -0.1))
    rack = box(-0.88, bed, -0.08, bed + 0.1)
    return [Part(body), Part(rack, DARK), Part(window, GLASS), *_wheels(0.27, 0.5, -0.56, 0.52)]


def racing_car(rng: np.random.Generator) -> list[Part]:
    wing, nose = rng.uniform(-0.5, -0.38), rng.uniform(0.1, 0.2)
    body = polygon(
        (-0.9, -0.05), (-0.2, -0.22), (0.1, -0.05), (0.95, nose), (0.95, 0.36), (-0.9, 0.36)
    )
    return [
        Part(box(-0.88, wing, -0.76, 0.0), DARK),
        Part(polygon((-0.97, wing), (-0.6, wing), (-0.6, wing + 0.14), (-0.97, wing + 0.14))),
        Part(ellipse(0.02, -0.22, 0.17, 0.17), PALE),
        Part(body),
        *_wheels(0.28, 0.3, -0.55, 0.52),
    ]


def beetle_car(rng: np.random.Generator) -> list[Part]:
    roof, fender = rng.uniform(0.66, 0.78), rng.uniform(0.34, 0.4)
    pane = np.concatenate([ellipse(0, 0.2, 0.42, roof - 0.16, np.pi * 1.06, np.pi * 1.94)])
    return [
        Part(np.concatenate([ellipse(0, 0.3, 0.72, roof + 0.1, np.pi, 2 * np.pi)])),
        Part(pane, GLASS),
        Part(box(-0.06, -roof, 0.02, 0.1)),
        Part(ellipse(-0.56, 0.42, fender + 0.02, fender, np.pi, 2 * np.pi)),
        Part(ellipse(0.56, 0.42, fender + 0.02, fender, np.pi, 2 * np.pi)),
        Part(box(-0.7, 0.25, 0.7, 0.46)),
        *_wheels(0.23, 0.48, -0.56, 0.56),
    ]


BOATS = {
    "sloop": sloop,
    "rowing": rowing_boat,
    "steamer": steamer,
    "longship": longship,
    "motor": motor_boat,
}
CARS = {
    "saloon": saloon_car,
    "bus": bus_car,
    "pickup": pickup_car,
    "racing": racing_car,
    "beetle": beetle_car,
}
