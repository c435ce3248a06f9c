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
    """Batches of secret lengths. Some numbers are too close for floats or too large for 64 bits, and some batches look like others."""
    source = random.Random(seed)

    def some(length, least=-10**9, end=10**9):
        return [source.randrange(least, end) for _ in range(length)]

    batches = [[], some(1), some(1) * source.randrange(2, 160), sorted(some(source.randrange(4, 160)))]
    batches.append(sorted(some(source.randrange(4, 160)), reverse=True))
    batches.append(some(source.randrange(4, 160), least=-10**9, end=0))
    batches.append([number << 40 for number in some(source.randrange(4, 160))])
    batches.append(some(source.randrange(600, 900)))
    # Some of each kind, whatever the seed; in an order that nobody knows.
    for kind in list(range(4)) * 2:
        length = source.randrange(2, 160)
        if kind == 0:
            batch = some(length, -5, 6)
        elif kind == 1:
            batch = some(length, 1 << 60, (1 << 60) + length + 1)
        else:
            batch = some(length)
        batches.append(batch)
    # The same length, first and last number as another batch, and other numbers between them; the same numbers in another order;
    # the same beginning; the same sum.
    known = some(2 * source.randrange(40, 80))
    shuffled = known[1:-1]
    source.shuffle(shuffled)
    alike = [known, known[:1] + some(len(known) - 2) + known[-1:], known[:1] + shuffled + known[-1:]]
    alike.append(known[:40] + some(len(known) - 40))
    alike.append([number + 10**9 * (-1) ** place for place, number in enumerate(known)])
    source.shuffle(batches)
    place = source.randrange(len(batches))
    return {"batches": batches[:place] + alike + batches[place:]}


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
