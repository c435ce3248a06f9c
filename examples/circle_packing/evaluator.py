"""The sum of the radii of 26 circles in the unit square, if they lie in it and don't overlap."""

import importlib.util
import math

COUNT = 26
# The best sum that we know to be published; the score is the part of it that is reached.
PUBLISHED = 2.6358
# Rounding errors are no overlap.
SLACK = 1e-9


def load(path):
    spec = importlib.util.spec_from_file_location("candidate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checked(circles):
    """The circles as numbers; what is wrong with them is an exception with words for the next prompt."""
    circles = [tuple(float(number) for number in circle) for circle in circles]
    if len(circles) != COUNT:
        raise ValueError(f"{len(circles)} circles instead of {COUNT}")
    for index, (x, y, radius) in enumerate(circles):
        if not all(map(math.isfinite, (x, y, radius))) or radius < 0:
            raise ValueError(f"circle {index} is no circle: {(x, y, radius)}")
        if min(x, y, 1 - x, 1 - y) < radius - SLACK:
            raise ValueError(f"circle {index} sticks out of the square: {(x, y, radius)}")
        for other in range(index):
            ox, oy, other_radius = circles[other]
            if math.hypot(x - ox, y - oy) < radius + other_radius - SLACK:
                raise ValueError(f"circles {other} and {index} overlap: {circles[other]}, {(x, y, radius)}")
    return circles


def evaluate(path):
    circles = checked(load(path).pack(COUNT))
    radii = sorted(radius for _, _, radius in circles)
    total = sum(radii)
    return {
        "combined_score": total / PUBLISHED,
        "sum_of_radii": total,
        "spread_of_radii": radii[-1] - radii[0],
        "artifacts": {"radii": ", ".join(f"{radius:.3f}" for radius in radii)},
    }
