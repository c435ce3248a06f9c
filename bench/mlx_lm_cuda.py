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


def kernel(header, source, name, inputs, outputs):
    return mx.fast.cuda_kernel(name=name, input_names=inputs.split(), output_names=outputs.split(), header=header, source=source)


def blocks(size, each):
    return (size + each - 1) // each


class Kernels:
    """As cuda.rs calls them."""

    def __init__(self):
        header, dora = sources("quantized-dora")
        self.prepare = kernel(header, dora["PREPARE"], "dora_prepare", "x packed scales biases a b m settings", "inner factor norm")
        self.finish = kernel(header, dora["FINISH"], "dora_finish", "q inner b factor settings", "y")
        self.back = kernel(header, dora["BACK"], "dora_back", "dy y inner b factor norm settings", "dq db dm through")
        self.last = kernel(header, dora["LAST"], "dora_last", "dxq x through a", "dx da")
        header, lora = sources("quantized-lora")
        self.lora_inner = kernel(header, lora["INNER"], "lora_inner", "x a", "inner")
        self.lora_finish = kernel(header, lora["FINISH"], "lora_finish", "q inner b bias settings", "y")
        self.lora_back = kernel(header, lora["BACK"], "lora_back", "dy inner b settings", "db through")
        self.lora_last = kernel(header, lora["LAST"], "lora_last", "dxq x through a", "dx da")


def launch(function, inputs, outputs, grid, group, template):
    shapes, dtypes = [list(part) for part in zip(*outputs)]
    return function(inputs=inputs, output_shapes=shapes, output_dtypes=dtypes, grid=grid, threadgroup=group, template=template)


def packed(x, linear, transpose):
    sizes = dict(group_size=linear.group_size, bits=linear.bits)
    return mx.quantized_matmul(x, linear.weight, linear.scales, linear.biases, transpose=transpose, **sizes)


def last(function, dxq, x, through, a, names):
    grid = (blocks(x.shape[-1], 16) * 256, 1, 1)
    return launch(function, [dxq, x, through, a], [(x.shape, x.dtype), (a.shape, mx.float32)], grid, (256, 1, 1), names)


def names_for(x, rank, **more):
    return [("T", x.dtype), ("R", blocks(rank, 8) * 8), *more.items()]


class CudaDoRALinear(DoRALinear):
    def __call__(self, x):
        linear, kernels = self.linear, KERNELS
        outputs, rank = self.lora_b.shape[1], self.lora_a.shape[1]
        rows = x.size // x.shape[-1]
        names = names_for(x, rank, GROUP=linear.group_size, BITS=linear.bits)
        settings = mx.array([self.scale, 2.0**-12 if x.dtype == mx.float16 else 2.0**-40])
        float32 = mx.float32

        @mx.custom_function
        def layer(x, a, b, m):
            made = [((rows, rank), float32), ((outputs,), float32), ((outputs,), float32)]
            grid = ((blocks(rows, 4) + blocks(outputs, 32)) * 256, 1, 1)
            inputs = [x, linear.weight, linear.scales, linear.biases, a, b, m, settings]
            inner, factor, norm = launch(kernels.prepare, inputs, made, grid, (256, 1, 1), names)
            q = packed(x, linear, True)
            grid = (blocks(outputs, 128) * 128, blocks(rows, 8), 1)
            (y,) = launch(kernels.finish, [q, inner, b, factor, settings], [(q.shape, q.dtype)], grid, (128, 1, 1), names)
            return y, inner, factor, norm

        @layer.vjp
        def backward(primals, cotangents, results):
            (x, a, b, m), dy, (y, inner, factor, norm) = primals, cotangents[0], results
            made = [(dy.shape, dy.dtype), (b.shape, float32), (m.shape, float32), ((rows, rank), float32)]
            grid = ((blocks(outputs, 16) + blocks(rows, 4)) * 256, 1, 1)
            inputs = [dy, y, inner, b, factor, norm, settings]
            dq, db, dm, through = launch(kernels.back, inputs, made, grid, (256, 1, 1), names)
            dx, da = last(kernels.last, packed(dq, linear, False), x, through, a, names)
            return dx, da, db, dm

        y = layer(x, self.lora_a, self.lora_b, self.m)[0]
        return y + linear.bias if "bias" in linear else y


class CudaLoRALinear(LoRALinear):
    def __call__(self, x):
        linear, kernels = self.linear, KERNELS
        outputs, rank = self.lora_b.shape[1], self.lora_a.shape[1]
        rows = x.size // x.shape[-1]
        has_bias = "bias" in linear
        names = names_for(x, rank, BIAS=has_bias)
        settings = mx.array([self.scale])

        @mx.custom_function
        def layer(x, a, b):
            grid = (blocks(rows, 4) * 256, 1, 1)
            (inner,) = launch(kernels.lora_inner, [x, a], [((rows, rank), mx.float32)], grid, (256, 1, 1), names)
            q = packed(x, linear, True)
            grid = (blocks(outputs, 128) * 128, blocks(rows, 8), 1)
            inputs = [q, inner, b, linear.bias if has_bias else b, settings]
            (y,) = launch(kernels.lora_finish, inputs, [(q.shape, q.dtype)], grid, (128, 1, 1), names)
            return y, inner

        @layer.vjp
        def backward(primals, cotangents, results):
            (x, a, b), dy, (_, inner) = primals, cotangents[0], results
            made = [(b.shape, mx.float32), ((rows, rank), mx.float32)]
            grid = ((blocks(outputs, 16) + blocks(rows, 4)) * 256, 1, 1)
            db, through = launch(kernels.lora_back, [dy, inner, b, settings], made, grid, (256, 1, 1), names)
            dx, da = last(kernels.lora_last, packed(dy, linear, False), x, through, a, names)
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


KERNELS = Kernels() if mx.default_device() == mx.gpu else None

if __name__ == "__main__":
    main()
