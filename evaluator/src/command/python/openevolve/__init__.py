"""Stands in for OpenEvolve where it isn't installed: what evaluators import from it, and nothing else."""

from openevolve.evaluation_result import EvaluationResult

__all__ = ["EvaluationResult"]
