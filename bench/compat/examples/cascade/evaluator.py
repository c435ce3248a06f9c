"""Three stages, metrics and artifacts merged; the second threshold is met, the third isn't."""

import importlib.util

from openevolve.evaluation_result import EvaluationResult


def load(path):
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def evaluate_stage1(program_path):
    runs = load(program_path).value(0.0) == 1.0
    return EvaluationResult(metrics={"combined_score": 0.6 if runs else 0.0, "runs": 1.0}, artifacts={"stage1": "runs"})


def evaluate_stage2(program_path):
    at_one = load(program_path).value(1.0)
    return {"combined_score": 0.7, "at_one": at_one}


def evaluate_stage3(program_path):
    raise RuntimeError("0.7 doesn't open this stage")


def evaluate(program_path):
    raise RuntimeError("there are stages")
