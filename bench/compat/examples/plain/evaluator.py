"""How near the polynomial is to the exponential function."""

import importlib.util
import math


def load(path):
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def evaluate(program_path):
    program = load(program_path)
    points = [n / 10 for n in range(-10, 11)]
    error = max(abs(program.value(x) - math.exp(x)) for x in points)
    return {"combined_score": 1 / (1 + error), "error": error, "points": len(points), "converged": error < 0.1}
