# title: binary search written out

def solve(numbers):
    ends = []
    lengths = []
    for number in numbers:
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if ends[middle] < number:
                low = middle + 1
            else:
                high = middle
        if low == len(ends):
            ends.append(number)
        else:
            ends[low] = number
        lengths.append(len(ends))
    return lengths
