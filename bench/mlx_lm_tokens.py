#!/usr/bin/env python3
"""MLX-LM's training tokens per second, and this trainer's beside it.

    python mlx_lm_tokens.py DIR                          # MLX-LM alone: one JSON object
    python mlx_lm_tokens.py DIR --against tokens [-n 6]  # both in turn, fresh processes; prints the ratios

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


def side_by_side(folder, tokens, rounds):
    ours = [str(tokens), "run", str(folder)]
    theirs = [sys.executable, __file__, str(folder)]
    contenders = {
        "MLX-LM, compiled step (its trainer's way)": theirs,
        "trainer, compiled step": [*ours, "--compiled"],
        "trainer, direct (as in trials)": ours,
    }

    def measure(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        return json.loads(done.stdout)

    results = {name: [] for name in contenders}
    for index in range(rounds):
        # Who goes first changes, so that a machine that speeds up or slows down favours nobody.
        names = list(contenders)
        for name in names[index % 3 :] + names[: index % 3]:
            results[name].append(measure(contenders[name]))
    reference, *others = contenders
    speeds = {name: [result["tokens_per_second"] for result in of] for name, of in results.items()}
    print(f"{rounds} rounds, fresh processes in turn; medians:")
    for name in contenders:
        last = results[name][-1]
        print(
            f"  {name}: {statistics.median(speeds[name]):.0f} tokens/s, allocator peak "
            f"{last['peak_memory_bytes'] / 1e6:.1f} MB, last loss {last['last_loss']:.6f}"
        )
    for name in others:
        ratios = [mine / its for mine, its in zip(speeds[name], speeds[reference])]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"  {name} / MLX-LM: {statistics.median(ratios):.3f} (each round: {each}); goal: at least 1.0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", type=Path, metavar="TOKENS", help="the trainer's `tokens` program")
    parser.add_argument("-n", "--rounds", type=int, default=6)
    parser.add_argument("--direct", action="store_true", help="don't compile MLX-LM's step")
    arguments = parser.parse_args()
    if arguments.against:
        side_by_side(arguments.folder, arguments.against, arguments.rounds)
    else:
        print(json.dumps(train(arguments.folder, not arguments.direct)))


if __name__ == "__main__":
    main()
