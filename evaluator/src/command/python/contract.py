"""The contract between an evaluator in Python and evolve, which is OpenEvolve's: `evaluate(path)`, or `evaluate_stage1` to
`evaluate_stage3`, returning metrics, or metrics with artifacts."""

import importlib.util
import json
import math
import sys
import traceback

# Bytes of a text that are kept.
TEXT_BYTES = 1 << 20
# Characters of all texts together, so that however they are written a result isn't too long to be sent.
ALL_TEXTS = 4 << 20
ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False)
STAGES = ("evaluate_stage1", "evaluate_stage2", "evaluate_stage3")


class Failure(Exception):
    """The evaluator returned something that isn't a result."""


class Evaluator:
    """The evaluator's module, loaded."""

    def __init__(self, setup):
        self.cascade = setup["cascade"]
        self.thresholds = setup["thresholds"]
        self.arguments = setup["arguments"]
        watched = Seeds(setup["evaluator"])
        spec = importlib.util.spec_from_file_location("evaluation_module", setup["evaluator"])
        if spec is None or spec.loader is None:
            raise ImportError("%s is no Python file" % setup["evaluator"])
        self.module = importlib.util.module_from_spec(spec)
        sys.modules["evaluation_module"] = self.module
        with watched:
            spec.loader.exec_module(self.module)
        self.seeds = watched
        self.stages = self.find_stages()
        if not callable(getattr(self.module, "evaluate", None)) and not self.stages:
            raise AttributeError("there is no function `evaluate(program_path)` in it")

    def find_stages(self):
        if self.cascade and hasattr(self.module, STAGES[0]):
            found = []
            for name in STAGES:
                if not hasattr(self.module, name):
                    break
                found.append(getattr(self.module, name))
            return found
        return []

    def evaluate(self, program, begin):
        """Everything about one program, as JSON in bytes. `begin` is told when a stage begins, counted from 1."""
        self.seeds.renew()
        metrics, artifacts = {}, {}
        failure = None
        stage = 1
        try:
            if not self.stages:
                begin(1)
                metrics, artifacts = taken_apart(self.module.evaluate(program, **self.arguments))
            for stage, function in enumerate(self.stages, 1):
                if stage > 1 and not self.passes(metrics, stage):
                    break
                begin(stage)
                more, texts = taken_apart(function(program))
                if stage > 1:
                    metrics.pop("error", None)
                    more.pop("error", None)
                metrics.update(more)
                artifacts.update(texts)
        except BaseException as error:
            failure = described(error)
            if self.stages:
                failure["function"] = STAGES[stage - 1]
        if artifacts:
            artifacts = fitting(artifacts)
        result = {"metrics": metrics, "artifacts": artifacts, "failure": failure, "stage": stage}
        text = packed(result)
        if len(text) > 6 * ALL_TEXTS:
            # Texts among the metrics.
            text = packed(dict(result, metrics=fitting(metrics)))
        return text

    def passes(self, metrics, stage):
        """Whether what is known so far opens a stage."""
        if len(self.thresholds) < stage - 1:
            return False
        score = metrics.get("combined_score")
        if not is_number(score):
            numbers = [value for name, value in metrics.items() if name != "error" and is_number(value)]
            score = sum(numbers) / len(numbers) if numbers else 0.0
        return score >= self.thresholds[stage - 2]


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def described(error):
    words = "".join(traceback.format_exception(type(error), error, without_ours(error.__traceback__)))
    name = type(error).__name__
    return {"type": name, "message": bounded(text_of(error)), "traceback": bounded(words), "contract": isinstance(error, Failure)}


def without_ours(frames):
    """The traceback from the first line on that isn't ours."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename == __file__:
        first = first.tb_next
    return first


def text_of(value):
    try:
        return str(value)
    except BaseException as error:
        return "(%s while it was turned into text)" % type(error).__name__


def taken_apart(result):
    """Metrics and artifacts, as plain values."""
    if isinstance(result, dict):
        metrics, artifacts = result, {}
    elif isinstance(getattr(result, "metrics", None), dict):
        metrics, artifacts = result.metrics, getattr(result, "artifacts", None) or {}
    else:
        raise Failure(
            "the evaluator returned %s; it has to return a dictionary of metrics or an EvaluationResult" % kind(result)
        )
    if not isinstance(artifacts, dict):
        raise Failure("the artifacts are %s; they have to be a dictionary" % kind(artifacts))
    plain = {text_of(name): plain_value(value) for name, value in metrics.items()}
    nested = plain.pop("artifacts", None)
    texts = {text_of(name): plain_value(value) for name, value in artifacts.items()}
    if isinstance(nested, dict):
        texts = dict(nested, **texts)
    elif nested is not None:
        plain["artifacts"] = nested
    return plain, texts


def kind(value):
    return "None" if value is None else "a value of type %s" % type(value).__name__


def plain_value(value, depth=0):
    """A value that JSON can hold: numbers of numpy, torch and their like become numbers, whatever isn't known becomes text."""
    if value is None or isinstance(value, (bool, str)):
        return bounded(value) if isinstance(value, str) else value
    if isinstance(value, int):
        # More than a double holds is text.
        return int(value) if abs(value) < 1 << 1023 else bounded(text_of(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        half = TEXT_BYTES // 2
        if len(value) <= TEXT_BYTES:
            return bounded(value.decode("utf-8", "replace"))
        head, tail = (part.decode("utf-8", "replace") for part in (value[:half], value[-half:]))
        return "%s\n... (%d bytes left out) ...\n%s" % (head, len(value) - 2 * half, tail)
    if depth > 20:
        return bounded(text_of(value))
    if isinstance(value, dict):
        return {text_of(name): plain_value(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(inner, depth + 1) for inner in value]
    # Arrays without dimensions, and numbers of any library. Decimal and Fraction have no `item`.
    if getattr(value, "shape", None) in ((), None):
        for convert in (lambda: value.item(), lambda: value.__float__()):
            try:
                number = convert()
            except BaseException:
                continue
            if isinstance(number, (bool, int, float)):
                return number
    try:
        return plain_value(value.tolist(), depth + 1)
    except BaseException:
        return bounded(text_of(value))


def bounded(text, limit=TEXT_BYTES):
    """A text, or its beginning and its end around a note of how much is missing."""
    # A character has four bytes at most.
    if 4 * len(text) <= limit or (len(text) <= limit and len(text.encode("utf-8", "replace")) <= limit):
        return text
    half = max(0, limit - 64) // 2
    head = text[:half].encode("utf-8", "replace")[:half].decode("utf-8", "ignore")
    tail = text[len(text) - half :].encode("utf-8", "replace")
    tail = tail[len(tail) - half :].decode("utf-8", "ignore")
    return "%s\n... (%d characters left out) ...\n%s" % (head, len(text) - len(head) - len(tail), tail)


def fitting(texts):
    """Artifacts that together aren't too long: the first ones whole, less of those after them."""
    left = ALL_TEXTS
    kept = {}
    for name, value in texts.items():
        if isinstance(value, (list, dict)):
            value = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"))
        if isinstance(value, str):
            value = bounded(value, max(0, min(TEXT_BYTES, left)))
            left -= len(value)
        kept[name] = value
        left -= len(name)
        if left < -(1 << 20):
            kept["more artifacts"] = "%d artifacts left out" % (len(texts) - len(kept))
            break
    return kept


def packed(value):
    """JSON. Numbers that JSON doesn't know become objects, so that none is mistaken for text or nothing."""
    try:
        text = ENCODER.encode(value)
    except ValueError:
        text = ENCODER.encode(finite(value))
    # Half of a character pair can't be written.
    return text.encode("utf-8", "replace")


def finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return {"not finite": str(value)}
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return value


class Seeds:
    """Randomness of the libraries' own generators: fresh in every evaluation, unless the module sets a seed while it is loaded.
    A fork alone would give each evaluation the same numbers."""

    def __init__(self, evaluator):
        self.state = None
        self.numpy = None
        self.seeded = set()
        with open(evaluator, "rb") as file:
            self.mentions = b"seed" in file.read()

    def __enter__(self):
        self.undo = []
        if not self.mentions:
            return self
        import random

        self.wrap(random, "random")
        try:
            import numpy.random

            self.wrap(numpy.random, "numpy")
        except ImportError:
            pass
        return self

    def __exit__(self, *_):
        for module, seed in self.undo:
            module.seed = seed
        if "random" in self.seeded:
            self.state = sys.modules["random"].getstate()

    def wrap(self, module, name):
        seed = module.seed

        def note(*arguments, **named):
            if (arguments and arguments[0] is not None) or named:
                self.seeded.add(name)
            return seed(*arguments, **named)

        module.seed = note
        self.undo.append((module, seed))

    def renew(self):
        if self.state is not None:
            sys.modules["random"].setstate(self.state)
        numpy = sys.modules.get("numpy.random")
        if numpy is not None and "numpy" not in self.seeded:
            numpy.seed()


def unsafe_to_fork():
    """Why forks of this process may hang, as far as we know; None if they are fine."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None):
        return "the evaluator computes with JAX while it is loaded, and JAX's threads don't survive a fork"
    if "tensorflow" in sys.modules:
        return "TensorFlow's threads don't survive a fork"
    torch = sys.modules.get("torch")
    if torch is not None and getattr(getattr(torch, "cuda", None), "is_initialized", bool)():
        return "the evaluator uses CUDA while it is loaded, which doesn't survive a fork"
    return None


def warnings(setup, evaluator):
    """What the user should know about the evaluator."""
    if evaluator is None or not setup["cascade"]:
        return []
    module = evaluator.module
    if not hasattr(module, STAGES[0]):
        return []
    defined = [name for name in STAGES if hasattr(module, name)]
    if len(defined) == 1:
        return ["it defines evaluate_stage1 but no evaluate_stage2, so only the first stage is run"]
    if len(setup["thresholds"]) < len(defined) - 1:
        return ["it defines %s, but there are too few thresholds to reach it" % defined[-1]]
    return []
