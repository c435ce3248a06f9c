#!/usr/bin/env python3
"""What each way of multiplying with a quantized weight costs MLX on a processor: why champions/few-rows.rs unpacks forward and not backward.

    python bench/mlx_cpu_products.py [--rows 32]

Needs mlx[cpu] from PyPI. Prints milliseconds, the least of five runs of each, for weights as large as Qwen2.5-0.5B's in 4 bits, float32.
"""

import argparse
import time

import mlx.core as mx

GROUP = {"group_size": 64, "bits": 4}
SHAPES = ((4864, 896), (896, 4864), (896, 896))


def least(compute, runs=5):
    mx.eval(compute())
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        mx.eval(compute())
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds)


def measure(outputs, inputs, rows, rank):
    packed = mx.quantize(0.02 * mx.random.normal((outputs, inputs)), **GROUP)
    weight = mx.dequantize(*packed, **GROUP)
    x, dy = mx.random.normal((rows, inputs)), mx.random.normal((rows, outputs))
    a, b = mx.random.normal((inputs, rank)), mx.random.normal((rank, outputs))
    mx.eval(packed, weight, x, dy, a, b)
    return {
        "unpacking the weight": lambda: mx.dequantize(*packed, **GROUP),
        "x · wᵀ, packed": lambda: mx.quantized_matmul(x, *packed, transpose=True, **GROUP),
        "x · wᵀ, unpacked, as MLX-LM writes it": lambda: x @ weight.T,
        "(w · xᵀ)ᵀ, unpacked, xᵀ copied": lambda: (weight @ mx.contiguous(x.T)).T,
        "dy · w, packed": lambda: mx.quantized_matmul(dy, *packed, transpose=False, **GROUP),
        "dy · w, unpacked": lambda: dy @ weight,
        "w · lora_a for the norm, packed": lambda: mx.quantized_matmul(a.T, *packed, transpose=True, **GROUP),
        "w · lora_a for the norm, unpacked": lambda: weight @ a,
        "(lora_a · lora_b)ᵀ for the norm": lambda: b.T @ a.T,
        "its sum with w, and the norm": lambda: mx.linalg.norm(weight + weight, axis=1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rank", type=int, default=8)
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    mx.random.seed(1)
    print(f"MLX {mx.__version__}, {options.rows} rows, rank {options.rank}, milliseconds")
    columns = [measure(outputs, inputs, options.rows, options.rank) for outputs, inputs in SHAPES]
    print(f"{'':38}" + "".join(f"{f'{outputs} x {inputs}':>14}" for outputs, inputs in SHAPES))
    for name in columns[0]:
        print(f"{name:38}" + "".join(f"{least(column[name]):14.2f}" for column in columns), flush=True)


if __name__ == "__main__":
    main()
