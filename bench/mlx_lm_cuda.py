#!/usr/bin/env python3
"""The kernels of problems/quantized-{dora,lora}/champions/cuda.rs under MLX-LM, beside MLX-LM's own layers: speed, memory and losses.

    MLX_USE_CUDA_GRAPHS=0 python bench/mlx_lm_cuda.py --shapes qwen2.5-0.5b --rounds 60

Needs mlx-lm and mlx[cuda13] from PyPI and a GPU of NVIDIA's. The CUDA source is read from those files, so what is measured here is what they
say. With MLX's CUDA graphs on, half precision goes wrong now and then (bench/mlx_repeats.py); the losses printed here show it.

All arms are models of one process, fine-tuned with MLX-LM's own model, loss, optimizer and compiled step. In each round every arm takes one
step on the same batch, in an order decided by a coin, so that what the machine does besides meets all alike; the ratio of an arm to another is
the median over the rounds, with the interval of its order statistics that holds with at least 95 %.
"""

import argparse
import math
import os
import random
import re
import statistics
import struct
import time
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optimizers
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear
from mlx_lm.tuner.trainer import default_loss

import mlx_lm_dora

PROBLEMS = Path(__file__).resolve().parent.parent / "problems"


def sources(problem):
    text = (PROBLEMS / problem / "champions" / "cuda.rs").read_text()
    found = dict(re.findall(r'const (\w+): &str = r"(.*?)";', text, re.DOTALL))
    header = found.pop("HEADER")
    return header, found


INPUTS = ["rows", "more", "packed", "scales", "biases", "lora", "other", "task"]
OUTPUTS = ["full", "wide", "narrow", "thin"]


def kernel(name):
    header, found = sources("quantized-" + name)
    return mx.fast.cuda_kernel(name=name, input_names=INPUTS, output_names=OUTPUTS, header=header, source=found["TASKS"])


def blocks(size, each):
    return (size + each - 1) // each


def bits(number):
    return struct.unpack("i", struct.pack("f", number))[0]


class Tasks:
    """Of one layer and one input, as cuda.rs has them."""

    def __init__(self, function, layer, x, **more):
        self.function = function
        self.rank, self.outputs = layer.lora_b.shape
        self.inputs = x.shape[-1]
        self.rows = x.size // self.inputs
        linear = layer.linear
        self.weight = [linear.weight, linear.scales, linear.biases]
        self.unpacking = blocks(linear.weight.size, 1024)
        names = {"T": x.dtype, "GROUP": linear.group_size, "BITS": linear.bits, "SCALE": bits(layer.scale), **more}
        self.template = list(names.items())
        self.has_bias = "bias" in linear
        self.bias = linear.bias if self.has_bias else mx.zeros((1, 1), x.dtype)

    def run(self, rows, more, lora, other, task, grid, group=256, full=(1,), wide=(1,), narrow=(1,), thin=(1,)):
        return self.function(
            inputs=[rows, more, *self.weight, lora, other, task],
            output_shapes=[full, wide, narrow, thin],
            output_dtypes=[rows.dtype, rows.dtype, mx.float32, mx.float32],
            grid=(grid[0] * group, *grid[1:]),
            threadgroup=(group, 1, 1),
            template=self.template,
        )

    def finish_grid(self):
        return (blocks(self.outputs, 128), blocks(self.rows, 8), 1)

    def back_grid(self):
        return (blocks(self.outputs, 8) + blocks(self.rows, 2) + self.unpacking, 1, 1)

    def last(self, x, dxq, a, through):
        grid = (blocks(self.inputs, 8), 1, 1)
        dx, _, da, _ = self.run(x, dxq, a, through, through, grid, full=x.shape, narrow=a.shape)
        return dx, da


class CudaDoRALinear(DoRALinear):
    def __call__(self, x):
        tasks = Tasks(KERNELS["dora"], self, x, LEAST=bits(2.0**-12 if x.dtype == mx.float16 else 2.0**-40))
        rows, rank, outputs, inputs = tasks.rows, tasks.rank, tasks.outputs, tasks.inputs

        @mx.custom_function
        def layer(x, a, b, m):
            grid = (blocks(rows, 2) + blocks(outputs, 4), 1, 1)
            _, w, ratios, inner = tasks.run(x, x, a, b, m, grid, wide=(outputs, inputs), narrow=(2, outputs), thin=(rows, rank))
            q = x @ w.T
            shape = q.shape if tasks.has_bias else (1,)
            y, before, _, _ = tasks.run(q, tasks.bias, b, inner, ratios, tasks.finish_grid(), 128, full=q.shape, wide=shape)
            return y, before if tasks.has_bias else y, inner, ratios

        @layer.vjp
        def backward(primals, cotangents, results):
            (x, a, b, m), dy, (_, y, inner, ratios) = primals, cotangents[0], results
            shapes = dict(full=dy.shape, wide=(outputs, inputs), narrow=(rank + 1, outputs), thin=(1, 1, rows, rank))
            dq, w, small, through = tasks.run(dy, y, b, inner, ratios[None], tasks.back_grid(), **shapes)
            dx, da = tasks.last(x, dq @ w, a, through)
            return dx, da, small[:rank], small[rank:].reshape(-1)

        return layer(x, self.lora_a, self.lora_b, self.m)[0]


class CudaLoRALinear(LoRALinear):
    def __call__(self, x):
        tasks = Tasks(KERNELS["lora"], self, x)
        rows, rank, outputs, inputs = tasks.rows, tasks.rank, tasks.outputs, tasks.inputs

        @mx.custom_function
        def layer(x, a, b):
            grid = (blocks(rows, 2) + tasks.unpacking, 1, 1)
            _, w, _, inner = tasks.run(x, x, a, a, mx.zeros(1), grid, wide=(outputs, inputs), thin=(rows, rank))
            q = x @ w.T
            y = tasks.run(q, tasks.bias, b, inner, inner, tasks.finish_grid(), 128, full=q.shape)[0]
            return y, inner

        @layer.vjp
        def backward(primals, cotangents, results):
            (x, a, b), dy, (_, inner) = primals, cotangents[0], results
            shapes = dict(wide=(outputs, inputs), narrow=(rank, outputs), thin=(1, 1, rows, rank))
            _, w, db, through = tasks.run(dy, dy, b, inner, inner[None], tasks.back_grid(), **shapes)
            dx, da = tasks.last(x, dy @ w, a, through)
            return dx, da, db

        return layer(x, self.lora_a, self.lora_b)[0]


LAYERS = {
    "dora": DoRALinear,
    "dora-cuda": CudaDoRALinear,
    "dora-packed": mlx_lm_dora.PackedDoRALinear,
    "lora": LoRALinear,
    "lora-cuda": CudaLoRALinear,
}
MLX_LM = ("dora", "lora")


class Arm:
    """A model with adapters of one kind, its optimizer, and its compiled step."""

    def __init__(self, name, options):
        before = mx.get_active_memory()
        self.name = name
        model = mlx_lm_dora.random_model(options.shapes, getattr(mx, options.dtype), 1)
        model.freeze()
        mx.random.seed(options.seed)
        mlx_lm_dora.attach(model, LAYERS[name], options)
        model.train()
        gradients = nn.value_and_grad(model, default_loss)
        optimizer = optimizers.Adam(learning_rate=options.learning_rate)
        lengths = mx.array([[0, options.length]] * options.batch)
        self.state = [model.state, optimizer.state]
        mx.eval(self.state)
        self.resident = mx.get_active_memory() - before

        def step(batch):
            (loss, _), found = gradients(model, batch, lengths)
            optimizer.update(model, found)
            return loss

        self.compiled = mx.compile(step, inputs=self.state, outputs=self.state)
        self.losses, self.seconds, self.peak = [], [], 0

    def step(self, batch):
        start = time.perf_counter()
        loss = self.compiled(batch)
        mx.eval(self.state, loss)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    def measure_peak(self, batches):
        """Of this arm alone: what it holds and what its steps add."""
        mx.clear_cache()
        mx.reset_peak_memory()
        active = mx.get_active_memory()
        for batch in batches:
            self.step(batch)
        self.peak = mx.get_peak_memory() - active + self.resident


def order_interval(values):
    """The median, and the order statistics that hold it with at least 95 % (sign test)."""
    values, count = sorted(values), len(values)
    tail, rank = 0.0, 0
    while tail + math.comb(count, rank) / 2**count <= 0.025:
        tail += math.comb(count, rank) / 2**count
        rank += 1
    if rank == 0:
        return statistics.median(values), values[0], values[-1]
    return statistics.median(values), values[rank - 1], values[count - rank]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", choices=mlx_lm_dora.SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16")
    parser.add_argument("--num-layers", type=int, default=0, help="blocks with adapters, from the last; 0: all")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--scale", type=float, default=16.0)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arms", nargs="+", choices=LAYERS, default=list(LAYERS))
    options = parser.parse_args()
    graphs = os.environ.get("MLX_USE_CUDA_GRAPHS", "on by default")
    print(f"MLX {mx.__version__} on {mx.device_info()}, {options.shapes}, {options.dtype}, {options.batch} x {options.length}, CUDA graphs: {graphs}")
    mx.random.seed(options.seed)
    vocabulary = mlx_lm_dora.SHAPES[options.shapes]["vocab_size"]
    batches = [mx.random.randint(1, vocabulary, (options.batch, options.length)) for _ in range(8)]
    mx.eval(batches)
    arms = []
    for name in options.arms:
        start = time.perf_counter()
        arm = Arm(name, options)
        arm.step(batches[0])
        arm.measure_peak(batches[1:4])
        arms.append(arm)
        losses = " ".join(f"{loss:.5f}" for loss in arm.losses)
        print(f"{name:12} ready in {time.perf_counter() - start:5.1f} s, peak {arm.peak / 2**20:7.1f} MB, losses {losses}", flush=True)
    for arm in arms:
        arm.seconds.clear()
    coin = random.Random()
    for number in range(options.rounds):
        for arm in coin.sample(arms, len(arms)):
            arm.step(batches[number % len(batches)])
    for arm in arms:
        milliseconds = 1e3 * statistics.median(arm.seconds)
        print(f"{arm.name:12} {milliseconds:7.2f} ms a step (median), {options.batch * (options.length - 1) / milliseconds * 1e3:9.0f} tokens/s")
    for arm in (arm for arm in arms if arm.name not in MLX_LM):
        for other in (arm for arm in arms if arm.name in MLX_LM):
            speed = order_interval([b / a for a, b in zip(arm.seconds, other.seconds)])
            worst = max(abs(a - b) / abs(b) for a, b in zip(arm.losses, other.losses))
            print(
                f"{arm.name:12} to {other.name:5}: speed {speed[0]:.3f} [{speed[1]:.3f}, {speed[2]:.3f}] from {options.rounds} rounds, "
                f"peak memory {arm.peak / other.peak:.3f}, losses differ by {worst:.1e} at most"
            )


KERNELS = {name: kernel(name) for name in ("dora", "lora")} if mx.default_device() == mx.gpu else None

if __name__ == "__main__":
    main()
