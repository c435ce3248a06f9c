import math

# EVOLVE-BLOCK-START
MARGIN = 0.1
# EVOLVE-BLOCK-END


def area(radius):
    return math.pi * radius * radius


# EVOLVE-BLOCK-START
def radii(count):
    return [1.0 / count - MARGIN / count for _ in range(count)]
# EVOLVE-BLOCK-END

print(sum(area(radius) for radius in radii(26)))
