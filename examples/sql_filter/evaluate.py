"""How well a query finds the purchases that turned out to be fraud: evaluate.py QUERY

Data are made from a fixed seed. The score is the F1 measure on one half; the other half, which no search sees, tells whether it holds.
"""

import json
import math
import random
import sqlite3
import sys

ROWS = 4000


def purchases():
    rng = random.Random(20)
    for number in range(ROWS):
        amount = round(math.exp(rng.gauss(4.0, 1.0)), 2)
        account_days = int(rng.expovariate(1 / 400))
        hour = rng.randrange(24)
        items = 1 + int(rng.expovariate(1 / 2))
        distance_km = int(math.exp(rng.gauss(4.5, 1.6)))
        # What makes a fraud likely; nobody who writes queries is told.
        leaning = -5.2
        leaning += 1.9 * (amount > 160) + 1.6 * (account_days < 75) + 1.3 * (hour in (1, 2, 3, 4))
        leaning += 0.4 * (items > 6) + 1.5 * (distance_km > 260) + 1.2 * (amount > 160 and distance_km > 260)
        fraud = rng.random() < 1 / (1 + math.exp(-1.6 * leaning))
        yield number, amount, account_days, hour, items, distance_km, fraud


def main():
    with open(sys.argv[1]) as file:
        query = file.read()
    data = list(purchases())
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE purchase (id INTEGER PRIMARY KEY, amount REAL, account_days REAL, hour REAL, items REAL, distance_km REAL)"
    )
    connection.executemany("INSERT INTO purchase VALUES (?, ?, ?, ?, ?, ?)", [row[:6] for row in data])
    found = {row[0] for row in connection.execute(query)}
    metrics = {}
    for name, half in (("", data[0::2]), ("unseen_", data[1::2])):
        metrics.update({name + key: value for key, value in f1(found, half).items()})
    missed = [row[:6] for row in data[0::2] if row[6] and row[0] not in found][:8]
    wrong = [row[:6] for row in data[0::2] if not row[6] and row[0] in found][:8]
    columns = "id, amount, account_days, hour, items, distance_km"
    metrics["score"] = metrics.pop("f1")
    metrics["artifacts"] = {f"frauds it missed ({columns})": str(missed), f"honest ones it stopped ({columns})": str(wrong)}
    print(json.dumps(metrics))


def f1(found, rows):
    frauds = {row[0] for row in rows if row[6]}
    here = found & {row[0] for row in rows}
    right = len(frauds & here)
    precision = right / len(here) if here else 0.0
    recall = right / len(frauds)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": f1, "precision": precision, "recall": recall}


if __name__ == "__main__":
    main()
