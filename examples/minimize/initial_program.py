"""Looks for the lowest point of a function of two variables, with a limited number of calls."""

# EVOLVE-BLOCK-START
def minimize(f, low, high, calls, rng):
    """A point (x, y) between `low` and `high` where f(x, y) is small. More than `calls` calls of f are an error."""
    best_x = rng.uniform(low, high)
    best_y = rng.uniform(low, high)
    best = f(best_x, best_y)
    reach = 1.0
    for step in range(1, calls):
        x = best_x + reach * rng.uniform(low, high)
        y = best_y + reach * rng.uniform(low, high)
        reach = reach * 1.0
        x = min(max(x, low), high)
        y = min(max(y, low), high)
        value = f(x, y)
        if value < best:
            best_x = x
            best_y = y
            best = value
    return best_x, best_y
# EVOLVE-BLOCK-END
