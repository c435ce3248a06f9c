#!/usr/bin/env python3
"""Does MLX give the same numbers each time? Gradients of small networks of packed products, many times over.

    python mlx_repeats.py [--runs 3000] [--rows 512] [--dtype float16]
    MLX_USE_CUDA_GRAPHS=0 python mlx_repeats.py

Needs mlx from PyPI (on a GPU of NVIDIA's mlx[cuda13]). The same operations on the same inputs must give the same numbers. With MLX 0.32.2 on
an H200 the gradient of a gated MLP in half precision does not, unless MLX's CUDA graphs are off: docs/results.md. A kernel's training is
judged by what another run of the same training came to, so this decides what such a judgement is worth. Exit code 1: something differed.
"""

import argparse
import sys

import mlx.core as mx

WIDTH, INNER = 896, 4864  # Qwen2.5-0.5B's
GROUP = {"group_size": 64, "bits": 4}


def weight(outputs, inputs, dtype):
    packed, scales, biases = mx.quantize(mx.random.normal((outputs, inputs)) * 0.02, **GROUP)
    return packed, scales.astype(dtype), biases.astype(dtype)


def packed(x, w):
    return mx.quantized_matmul(x, *w, transpose=True, **GROUP)


def unpacked(x, w):
    return x @ mx.dequantize(*w, **GROUP).T


def gradient(network):
    return mx.grad(lambda x: network(x).astype(mx.float32).square().mean() * 1000)


def cases(dtype):
    """Each with what it computes of x."""
    gate, up, down = weight(INNER, WIDTH, dtype), weight(INNER, WIDTH, dtype), weight(WIDTH, INNER, dtype)

    def mlp(x, product):
        inner = product(x, gate)
        return product(inner * mx.sigmoid(inner), down)

    def gated(x, product):
        inner = product(x, gate)
        return product(inner * mx.sigmoid(inner) * product(x, up), down)

    return {
        "gated MLP, packed, forward": lambda x: gated(x, packed),
        "gated MLP, packed, gradient": gradient(lambda x: gated(x, packed)),
        "gated MLP, unpacked, gradient": gradient(lambda x: gated(x, unpacked)),
        "MLP without a gate, packed, gradient": gradient(lambda x: mlp(x, packed)),
    }


def repeat(compute, x, runs):
    """How many runs differ from the first, by how much of its largest number at most, and in how many rows at most."""
    first = compute(x)
    mx.eval(first)
    count, worst, rows = 0, 0.0, 0
    for _ in range(runs):
        again = compute(x)
        mx.eval(again)
        if not mx.array_equal(again, first).item():
            difference = mx.abs(again.astype(mx.float32) - first.astype(mx.float32))
            count += 1
            worst = max(worst, difference.max().item() / mx.abs(first.astype(mx.float32)).max().item())
            rows = max(rows, (difference.max(axis=-1) > 0).sum().item())
    return count, worst, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], action="append")
    arguments = parser.parse_args()
    print(f"MLX {mx.__version__} on {mx.default_device()}, {arguments.rows} rows, {arguments.runs} runs after the first")
    is_same = True
    for name in arguments.dtype or ["float16", "bfloat16", "float32"]:
        dtype = getattr(mx, name)
        mx.random.seed(2)
        x = mx.random.normal((2, arguments.rows // 2, WIDTH)).astype(dtype)
        for case, compute in cases(dtype).items():
            count, worst, rows = repeat(compute, x, arguments.runs)
            is_same &= count == 0
            words = f"{count} differ, by up to {worst:.3f} of the largest number, in up to {rows} rows" if count else "all the same"
            print(f"{name:>8}  {case}: {words}", flush=True)
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
