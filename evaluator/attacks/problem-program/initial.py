# Longest strictly increasing subsequences.
# EVOLVE-BLOCK-START
def solve(numbers):
    """For each position, the length of the longest strictly increasing subsequence that ends there or before it."""
    lengths = []
    best = []
    longest = 0
    for index, number in enumerate(numbers):
        length = 1
        for earlier in range(index):
            if numbers[earlier] < number and lengths[earlier] + 1 > length:
                length = lengths[earlier] + 1
        lengths.append(length)
        longest = max(longest, length)
        best.append(longest)
    return best
# EVOLVE-BLOCK-END
