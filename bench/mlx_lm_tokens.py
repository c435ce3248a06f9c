#!/usr/bin/env python3
"""MLX-LM's training tokens per second, and this trainer's beside it.

    python mlx_lm_tokens.py DIR                          # MLX-LM alone: one JSON object
    python mlx_lm_tokens.py DIR --against tokens [-n 5]  # both in turn, fresh processes; prints the ratio

DIR is made by the trainer's `tokens make DIR`; `tokens` is the path of that program. Run it with a Python that has
mlx-lm of the MLX version that the trainer is built with. MLX-LM's step is compiled, as its own trainer does it;
`--direct` runs it operation by operation. What one counts is the time of the steps after the warm-up.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path


def train(folder, compiled):
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim
    from mlx_lm.tuner.trainer import default_loss
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    settings = json.loads((folder / "training.json").read_text())
    batches = mx.load(str(folder / "batches.safetensors"))
    pairs = list(zip(batches["tokens"], batches["lengths"]))
    model, _ = load_model(folder)
    model.freeze()
    mx.random.seed(settings["seed"])
    lora = {"rank": settings["rank"], "scale": settings["scale"], "dropout": 0.0}
    linear_to_lora_layers(model, settings["num_layers"], lora)
    model.train()
    optimizer = optim.Adam(learning_rate=settings["learning_rate"])
    loss_and_gradients = nn.value_and_grad(model, default_loss)
    state = [model.state, optimizer.state, mx.random.state]

    def step(batch, lengths):
        (loss, tokens), gradients = loss_and_gradients(model, batch, lengths)
        optimizer.update(model, gradients)
        return loss, tokens

    if compiled:
        step = partial(mx.compile, inputs=state, outputs=state)(step)

    count = 0
    for index, (batch, lengths) in enumerate(pairs):
        if index == settings["warmup"]:
            mx.reset_peak_memory()
            count, start = 0, time.perf_counter()
        loss, tokens = step(batch, lengths)
        mx.eval(state, loss, tokens)
        last, count = loss.item(), count + tokens.item()
    seconds = time.perf_counter() - start
    return {
        "trainer": "mlx-lm",
        "tokens_per_second": count / seconds,
        "tokens": count,
        "seconds": seconds,
        "last_loss": last,
        "peak_memory_bytes": mx.get_peak_memory(),
    }


def side_by_side(folder, tokens, rounds, direct):
    ours = [str(tokens), "run", str(folder)]
    theirs = [sys.executable, __file__, str(folder)] + (["--direct"] if direct else [])

    def measure(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        return json.loads(done.stdout)

    pairs = []
    for index in range(rounds):
        # Who goes first changes, so that a machine that speeds up or slows down favours nobody.
        first, second = (ours, theirs) if index % 2 == 0 else (theirs, ours)
        results = [measure(first), measure(second)]
        pairs.append(tuple(results if index % 2 == 0 else reversed(results)))
    ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs]
    median = lambda side: statistics.median(pair[side]["tokens_per_second"] for pair in pairs)
    a, b = pairs[-1]
    print(f"trainer {median(0):.1f} tokens/s, MLX-LM {median(1):.1f} tokens/s (medians of {rounds} runs each, in turn)")
    print(f"ratio {statistics.median(ratios):.3f} (of each round: {', '.join(f'{ratio:.3f}' for ratio in ratios)}); goal: at least 1.0")
    print(f"same work: last loss {a['last_loss']:.6f} and {b['last_loss']:.6f}, {a['tokens']} and {b['tokens']} tokens")
    print(f"allocator peak {a['peak_memory_bytes'] / 1e6:.1f} and {b['peak_memory_bytes'] / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", type=Path, metavar="TOKENS", help="the trainer's `tokens` program")
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument("--direct", action="store_true", help="don't compile MLX-LM's step")
    arguments = parser.parse_args()
    if arguments.against:
        side_by_side(arguments.folder, arguments.against, arguments.rounds, arguments.direct)
    else:
        print(json.dumps(train(arguments.folder, not arguments.direct)))


if __name__ == "__main__":
    main()
