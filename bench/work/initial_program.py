"""The work of the benchmarks: a program of 1.5 KB whose only number that counts is VALUE."""
# EVOLVE-BLOCK-START
VALUE = 0.5


def clamp(value, low, high):
    """Keeps a value between two others."""
    if value < low:
        return low
    if value > high:
        return high
    return value


def mean(values):
    """The average of some numbers; 0 of none."""
    total, count = 0.0, 0
    for value in values:
        total += value
        count += 1
    return total / count if count else 0.0


def smooth(values, width):
    """Each value with its neighbours, averaged."""
    result = []
    for index in range(len(values)):
        low = clamp(index - width, 0, len(values))
        high = clamp(index + width + 1, 0, len(values))
        result.append(mean(values[low:high]))
    return result


def crossings(values, level):
    """How often a series passes a level upwards."""
    count = 0
    for before, after in zip(values, values[1:]):
        if before < level <= after:
            count += 1
    return count


def signal(length):
    """A series that rises and falls around VALUE."""
    state, values = VALUE, []
    for _ in range(length):
        state = 3.7 * state * (1.0 - state)
        values.append(clamp(state, 0.0, 1.0))
    return values


def solve(length=64, width=2):
    """What an evaluator could ask for."""
    return crossings(smooth(signal(length), width), VALUE)


# EVOLVE-BLOCK-END

if __name__ == "__main__":
    print(solve())
