"""How near a program comes to the lowest point of a rippled bowl, on average over 24 starts."""

import importlib.util
import math
import random

from openevolve.evaluation_result import EvaluationResult

LOW, HIGH, CALLS = -8.0, 8.0, 300


def height(x, y):
    """A bowl with ripples: some hundred valleys, one of them the deepest."""
    bowl = 0.05 * ((x - 1.9) ** 2 + (y + 2.6) ** 2)
    return bowl + 1.2 * math.sin(2.3 * x) * math.cos(1.7 * y) + 0.4 * math.cos(4.1 * (x + y))


def lowest():
    """By looking everywhere: a grid, and finer grids around its best point."""
    x, y, width = 0.0, 0.0, HIGH - LOW
    while width > 1e-7:
        points = [(x + width * (i / 160 - 0.5), y + width * (j / 160 - 0.5)) for i in range(161) for j in range(161)]
        x, y = min((p for p in points if LOW <= p[0] <= HIGH and LOW <= p[1] <= HIGH), key=lambda p: height(*p))
        width /= 40
    return height(x, y)


LOWEST = lowest()


class Counted:
    """The function, for a limited number of calls."""

    def __init__(self):
        self.points = []

    def __call__(self, x, y):
        if len(self.points) >= CALLS:
            raise RuntimeError(f"f was called more than {CALLS} times")
        if not (LOW <= x <= HIGH and LOW <= y <= HIGH):
            raise ValueError(f"({x}, {y}) is not between {LOW} and {HIGH}")
        self.points.append((x, y))
        return height(x, y)


def load(path):
    spec = importlib.util.spec_from_file_location("candidate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gap(program, seed):
    """How far above the lowest point it ends."""
    x, y = program.minimize(Counted(), LOW, HIGH, CALLS, random.Random(seed))
    if not (LOW <= x <= HIGH and LOW <= y <= HIGH):
        raise ValueError(f"the answer ({x}, {y}) is not between {LOW} and {HIGH}")
    return height(x, y) - LOWEST


def measured(program, seeds):
    gaps = [gap(program, seed) for seed in seeds]
    score = sum(1 / (1 + 10 * each) for each in gaps) / len(gaps)
    return {"combined_score": score, "mean_gap": sum(gaps) / len(gaps), "worst_gap": max(gaps)}, gaps


def evaluate_stage1(path):
    """Three starts: enough to see what doesn't work at all."""
    return EvaluationResult(metrics=measured(load(path), range(3))[0])


def evaluate_stage2(path):
    metrics, gaps = measured(load(path), range(24))
    worst = max(range(24), key=gaps.__getitem__)
    return EvaluationResult(
        metrics=metrics,
        artifacts={"starts": f"gaps from best to worst: {[round(each, 3) for each in sorted(gaps)]}; the worst start was {worst}"},
    )


def evaluate(path):
    return evaluate_stage2(path)
