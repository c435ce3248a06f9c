# title: a Fenwick tree over the ranks of the numbers

def solve(numbers):
    ranks = {number: rank for rank, number in enumerate(sorted(set(numbers)), 1)}
    tree = [0] * (len(ranks) + 1)
    longest = 0
    result = []
    for number in numbers:
        rank = ranks[number]
        length, place = 0, rank - 1
        while place:
            length = max(length, tree[place])
            place &= place - 1
        length += 1
        place = rank
        while place < len(tree):
            tree[place] = max(tree[place], length)
            place += place & -place
        longest = max(longest, length)
        result.append(longest)
    return result
