"""Packs circles into the unit square so that the sum of their radii is large."""

import math
import random


# EVOLVE-BLOCK-START
def pack(count):
    """A list of `count` circles (x, y, radius) in the unit square that don't overlap."""
    rng = random.Random(1)
    columns = math.ceil(math.sqrt(count))
    centers = []
    for index in range(count):
        x = (index % columns + 0.5) / columns
        y = (index // columns + 0.5) / columns
        centers.append([x, y])
    best = sum(radii(centers))
    reach = 0.01
    for step in range(400):
        index = rng.randrange(count)
        old = centers[index]
        x = old[0] + rng.gauss(0.0, reach)
        y = old[1] + rng.gauss(0.0, reach)
        centers[index] = [min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)]
        total = sum(radii(centers))
        if total < best:
            centers[index] = old
        else:
            best = total
        reach = reach * 1.0
    return [(x, y, radius) for (x, y), radius in zip(centers, radii(centers))]


def radii(centers):
    """Radii for these centres: none overlap, because each takes at most what those before it leave."""
    sizes = []
    for i, (x, y) in enumerate(centers):
        room = min(x, y, 1.0 - x, 1.0 - y)
        for j, (other_x, other_y) in enumerate(centers):
            if j == i:
                continue
            distance = math.hypot(x - other_x, y - other_y)
            if j < i:
                room = min(room, distance - sizes[j])
            else:
                room = min(room, distance * 0.5)
        sizes.append(max(room, 0.0))
    return sizes
# EVOLVE-BLOCK-END
