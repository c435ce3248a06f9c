"""No combined_score, a file that lies beside it, numpy's kinds of numbers if there is numpy."""

import importlib.util
import json

try:
    import numpy
except ImportError:
    numpy = None


def evaluate(program_path):
    spec = importlib.util.spec_from_file_location("program", program_path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    with open(__file__.replace("evaluator.py", "points.json")) as file:
        points = json.load(file)
    values = [program.value(x) for x in points]
    mean = float(numpy.mean(values)) if numpy else sum(values) / len(values)
    return {"mean": mean, "largest": max(values), "count": len(values)}
