"""A polynomial's coefficients: what is searched."""
# EVOLVE-BLOCK-START
COEFFICIENTS = [1.0, -0.5, 0.25]


def value(x):
    return sum(c * x**n for n, c in enumerate(COEFFICIENTS))


# EVOLVE-BLOCK-END
