# title: numbers replaced by their ranks, then a tree of maxima

def solve(numbers):
    rank = {number: place for place, number in enumerate(sorted(set(numbers)), 1)}
    size = 1
    while size <= len(rank) + 1:
        size *= 2
    tree = [0] * (2 * size)

    def set_at(place, value):
        place += size
        while place and tree[place] < value:
            tree[place] = value
            place //= 2

    def largest(end):
        low, high, best = size, size + end, 0
        while low < high:
            if low % 2:
                best = max(best, tree[low])
                low += 1
            if high % 2:
                high -= 1
                best = max(best, tree[high])
            low //= 2
            high //= 2
        return best

    longest, lengths = 0, []
    for number in numbers:
        length = largest(rank[number]) + 1
        set_at(rank[number], length)
        longest = max(longest, length)
        lengths.append(longest)
    return lengths
