"""Makes challenges and judges answers. Never meets the candidate.

`make SEED` prints a challenge; `score CHALLENGE ANSWER SECONDS` prints {"score": ...} or {"error": "why not"}.
"""

import bisect
import json
import random
import sys

# Numbers in a second that no program of this kind can handle, on any machine.
CEILING = 2e7


def make(seed):
    """Batches of secret lengths. Some numbers are too close for floats, some batches repeat the ends of earlier ones."""
    source = random.Random(seed)
    batches = [[]]
    # Some of each kind, whatever the seed; in an order that nobody knows.
    kinds = list(range(4)) * 3
    source.shuffle(kinds)
    for kind in kinds:
        length = source.randrange(2, 160)
        if kind == 0:
            batch = [source.randrange(-5, 6) for _ in range(length)]
        elif kind == 1:
            batch = [(1 << 60) + source.randrange(length + 1) for _ in range(length)]
        else:
            batch = [source.randrange(-10**9, 10**9) for _ in range(length)]
        batches.append(batch)
    # The same length, first and last number as another batch, and other numbers between them.
    known = max(batches, key=len)
    between = [source.randrange(-10**9, 10**9) for _ in known[1:-1]]
    batches.append(known[:1] + between + known[-1:])
    return {"batches": batches}


def expected(numbers):
    ends, lengths = [], []
    for number in numbers:
        place = bisect.bisect_left(ends, number)
        ends[place:place + 1] = [number]
        lengths.append(len(ends))
    return lengths


def judge(challenge, answer, seconds):
    """None and the score, or what is wrong with the answer."""
    batches = challenge["batches"]
    try:
        answers = json.loads(answer)
    except (ValueError, RecursionError):
        return "the answer is not one JSON value"
    if not isinstance(answers, list) or len(answers) != len(batches):
        return f"the answer has to be a list of {len(batches)} lists"
    for number, (batch, lengths) in enumerate(zip(batches, answers), 1):
        right = expected(batch)
        # `type`, since True and 1.0 are equal to 1.
        if not isinstance(lengths, list) or any(type(length) is not int for length in lengths):
            return f"batch {number}: not a list of integers"
        if lengths != right:
            return f"batch {number} of {len(batch)} numbers: a wrong result"
    rate = sum(map(len, batches)) / seconds
    if rate > CEILING:
        return f"{rate:.0f} numbers in a second are more than anybody can handle"
    return rate


def main():
    match sys.argv[1:]:
        case ["make", seed]:
            json.dump(make(int(seed)), sys.stdout)
        case ["score", challenge_path, answer_path, seconds]:
            with open(challenge_path, encoding="utf-8") as file:
                challenge = json.load(file)
            with open(answer_path, encoding="utf-8", errors="replace") as file:
                answer = file.read()
            result = judge(challenge, answer, float(seconds))
            verdict = {"error": result} if isinstance(result, str) else {"score": result}
            json.dump(verdict, sys.stdout)
        case _:
            sys.exit("usage: judge.py make SEED | judge.py score CHALLENGE ANSWER SECONDS")


main()
