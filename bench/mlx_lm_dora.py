#!/usr/bin/env python3
"""MLX-LM's DoRALinear beside the same layer with its weight left packed: losses, speed and memory in one run.

    python bench/mlx_lm_dora.py                                    # a small model, made on the spot
    python bench/mlx_lm_dora.py --shapes qwen2.5-0.5b --pairs 6    # as large as the real one, random weights
    python bench/mlx_lm_dora.py --model path/to/mlx/model          # any quantized Qwen2 in MLX-LM's format

Needs mlx-lm from PyPI (and mlx[cpu] on Linux). `docs/upstream.md` tells what changes and why.

Speed is told by the wall clock and by processor time, which other programs on the machine disturb less.

Every measurement is a process of its own that fine-tunes with MLX-LM's own model, loss, optimizer and compiled step; the arms of a pair
have the same seed and batches, in an order decided by a coin. Exit code 1: the losses of the two DoRA layers differ by more than 1e-4
(float32; 2e-2 in half precision).
"""

import argparse
import json
import math
import random
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optimizers
import mlx_lm.tuner.dora
import mlx_lm.tuner.lora
import mlx_lm.tuner.utils
from mlx.utils import tree_flatten
from mlx_lm.models.qwen2 import Model, ModelArgs
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear
from mlx_lm.tuner.trainer import default_loss
from mlx_lm.utils import load_model


class PackedDoRALinear(DoRALinear):
    """A DoRALinear that never unpacks a quantized weight.

    The product is `quantized_matmul`, as in LoRALinear. The norm of a row of `W + s (A B)ᵀ` is the root of
    `‖w‖² + 2 s b·(w A) + s² b·(Aᵀ A) b`: the first term is the weight's own and known beforehand, `w A` for all rows is a
    product with as many rows as the rank, and `Aᵀ A` is rank × rank.
    """

    def set_linear(self, linear):
        super().set_linear(linear)
        # m begins as the length of each row. With an underscore it is no parameter.
        self._squares = mx.square(self.m)

    def _packed_matmul(self, x):
        linear = self.linear
        return mx.quantized_matmul(
            x,
            linear.weight,
            scales=linear.scales.astype(x.dtype),
            biases=linear.biases.astype(x.dtype),
            transpose=True,
            group_size=linear.group_size,
            bits=linear.bits,
        )

    def _row_norms(self):
        a, b = mx.stop_gradient(self.lora_a), mx.stop_gradient(self.lora_b)
        mixed = (b * self._packed_matmul(a.T)).sum(axis=0)
        own = (b * ((a.T @ a) @ b)).sum(axis=0)
        return mx.sqrt(self._squares + 2 * self.scale * mixed + self.scale**2 * own)

    def __call__(self, x):
        if not self._is_quantized() or self.linear.mode != "affine":
            return super().__call__(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        out = self._packed_matmul(x) + (self.scale * z).astype(x.dtype)
        out = (self.m / self._row_norms()).astype(x.dtype) * out
        if "bias" in self.linear:
            out = out + self.linear.bias
        return out


class FewRowsDoRALinear(PackedDoRALinear):
    """The same for a processor and few rows, as `champions/few-rows.rs` has it (`bench/mlx_cpu_products.py` tells why): forward the weight is
    unpacked, a piece at a time, and stands on the left; with x goes lora_a, for the norm. Backward it stays packed.
    """

    # Values of a piece.
    PIECE = 1 << 18

    def _times(self, right):
        linear, products = self.linear, []
        outputs, inputs = linear.weight.shape[0], self.lora_a.shape[0]
        rows = max(self.PIECE // inputs, 1)
        for start in range(0, outputs, rows):
            part = slice(start, start + rows)
            scales = linear.scales[part]
            if products:
                # Or MLX would unpack all pieces first.
                scales = scales + mx.minimum(mx.abs(products[-1][:1, :1]), 0)
            piece = mx.dequantize(linear.weight[part], scales, linear.biases[part], group_size=linear.group_size, bits=linear.bits)
            products.append(piece @ right)
        return mx.concatenate(products, axis=0)

    def __call__(self, x):
        linear, scale = self.linear, self.scale
        if not self._is_quantized() or linear.mode != "affine" or x.dtype != mx.float32:
            return super().__call__(x)

        @mx.custom_function
        def layer(x, a, b, m):
            rows = x.reshape(-1, x.shape[-1])
            count = rows.shape[0]
            both = self._times(mx.concatenate([mx.contiguous(rows.T), a], axis=1))
            product, mixed = both[:, :count], both[:, count:]
            gram = (a.T @ a) @ b
            norm = mx.sqrt(self._squares + (b * (2 * scale * mixed.T + scale**2 * gram)).sum(axis=0))
            factor = m / norm
            # The magnitude's gradient is found by dividing by it.
            factor = mx.where(mx.abs(factor) < 2.0**-40, 2.0**-40, factor)
            inner = rows @ a
            y = mx.contiguous((product.T + scale * (inner @ b)) * factor)
            return y.reshape(*x.shape[:-1], -1), inner, factor, norm

        @layer.vjp
        def backward(primals, cotangents, results):
            (x, a, b, _), dy, (y, inner, factor, norm) = primals, cotangents[0], results
            flat = lambda array: array.reshape(-1, array.shape[-1])
            dq = dy * factor
            sizes = dict(group_size=linear.group_size, bits=linear.bits)
            dx = mx.quantized_matmul(dq, linear.weight, linear.scales, linear.biases, transpose=False, **sizes)
            through = dq @ (scale * b).T
            da = flat(x).T @ flat(through)
            db = (scale * inner).T @ flat(dq)
            return dx + through @ a.T, da, db, (flat(dy) * flat(y)).sum(axis=0) / (factor * norm)

        out = layer(x, self.lora_a, self.lora_b, self.m)[0]
        return out + linear.bias if "bias" in linear else out


# Each arm's layers.
ARMS = {"mlx-lm": DoRALinear, "packed": PackedDoRALinear, "few-rows": FewRowsDoRALinear, "lora": LoRALinear}
OWN = ("packed", "few-rows")

SHAPES = {
    "small": dict(hidden_size=256, intermediate_size=1024, num_hidden_layers=2, heads=4, vocab_size=320),
    "qwen2.5-0.5b": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, heads=14, vocab_size=151936),
    "qwen2.5-1.5b": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, heads=12, vocab_size=151936),
}


def random_model(name, dtype, seed):
    """A Qwen2 of these shapes in 4 bits, packed bits drawn at random."""
    sizes = dict(SHAPES[name])
    heads = sizes.pop("heads")
    arguments = ModelArgs.from_dict(
        dict(
            sizes,
            model_type="qwen2",
            num_attention_heads=heads,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
            rope_theta=1000000.0,
            tie_word_embeddings=True,
        )
    )
    # Nothing of the plain model is ever computed: MLX is lazy, and the packed arrays take its place.
    model = Model(arguments)
    nn.quantize(model, group_size=64, bits=4)
    rng, weights = random.Random(seed), []
    mx.random.seed(seed)
    parameters = dict(tree_flatten(model.parameters()))
    for key, value in parameters.items():
        if value.dtype == mx.uint32:
            words = memoryview(rng.randbytes(4 * value.size)).cast("I")
            new = mx.array(words).reshape(value.shape)
        elif key.endswith(".scales"):
            width = value.shape[-1] * 64
            new = mx.random.uniform(0.75, 1.25, value.shape) / (math.sqrt(width) * math.sqrt(255 / 12))
        elif key.endswith(".biases"):
            continue
        elif key.endswith(".bias"):
            new = 0.02 * mx.random.normal(value.shape)
        else:
            new = mx.ones(value.shape)
        new = new if new.dtype == mx.uint32 else new.astype(dtype)
        weights.append((key, new))
        if key.endswith(".scales"):
            weights.append((key[: -len("scales")] + "biases", -7.5 * new))
    model.load_weights(weights)
    mx.eval(model.parameters())
    return model


def attach(model, layer, options):
    """Adapters in MLX-LM's own way, of this class: it makes them by the global names of its own."""
    is_dora = issubclass(layer, DoRALinear)
    module, own = (mlx_lm.tuner.dora, DoRALinear) if is_dora else (mlx_lm.tuner.lora, LoRALinear)
    places = (module, mlx_lm.tuner.utils)
    for place in places:
        setattr(place, own.__name__, layer)
    settings = {"rank": options.rank, "scale": options.scale, "dropout": 0.0}
    mlx_lm.tuner.utils.linear_to_lora_layers(model, options.num_layers, settings, use_dora=is_dora)
    for place in places:
        setattr(place, own.__name__, own)
    used = {type(module) for module in model.modules() if hasattr(module, "lora_a")}
    assert used == {layer}, used


def measure(options):
    """One arm in this process; prints JSON."""
    dtype = getattr(mx, options.dtype)
    model = load_model(Path(options.model))[0] if options.model else random_model(options.shapes, dtype, 1)
    model.freeze()
    mx.random.seed(options.seed)
    attach(model, ARMS[options.arm], options)
    vocabulary = model.args.vocab_size
    tokens = mx.random.randint(1, vocabulary, (options.steps + 1, options.batch, options.length))
    lengths = mx.array([[0, options.length]] * options.batch)
    model.train()
    loss_and_gradients = nn.value_and_grad(model, default_loss)
    optimizer = optimizers.Adam(learning_rate=options.learning_rate)
    state = [model.state, optimizer.state, mx.random.state]

    def step(batch):
        (loss, _), gradients = loss_and_gradients(model, batch, lengths)
        optimizer.update(model, gradients)
        return loss

    if not options.no_compile:
        step = mx.compile(step, inputs=state, outputs=state)
    mx.eval(tokens, state, step(tokens[0]), state)
    mx.clear_cache()
    mx.reset_peak_memory()
    losses, start, processor = [], time.perf_counter(), time.process_time()
    for batch in tokens[1:]:
        loss = step(batch)
        mx.eval(state, loss)
        losses.append(loss.item())
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    trained = options.batch * (options.length - 1) * options.steps
    print(
        json.dumps(
            {
                "losses": losses,
                "tokens_per_second": trained / seconds,
                "tokens_per_processor_second": trained / processor,
                "peak_memory_bytes": mx.get_peak_memory(),
                "device": str(mx.default_device()),
            }
        )
    )


def interval(ratios):
    """Hodges and Lehmann's estimate of the ratio, and the least and largest pair, which bound it with 1 - 2 / 2^n."""
    logs = sorted(math.log(ratio) for ratio in ratios)
    means = sorted((a + b) / 2 for i, a in enumerate(logs) for b in logs[i:])
    middle = len(means) // 2
    estimate = means[middle] if len(means) % 2 else (means[middle - 1] + means[middle]) / 2
    return math.exp(estimate), math.exp(logs[0]), math.exp(logs[-1]), 1 - 2 / 2 ** len(logs)


def compare(options):
    def child(arm, seed):
        arguments = [sys.executable, __file__, *sys.argv[1:], "--arm", arm, "--seed", str(seed)]
        output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(output.splitlines()[-1])

    coin = random.Random()
    results = {arm: [] for arm in options.arms}
    for pair in range(options.pairs):
        for arm in coin.sample(options.arms, len(options.arms)):
            result = child(arm, 100 + pair)
            results[arm].append(result)
            print(
                f"pair {pair + 1} {arm:8} {result['tokens_per_second']:10.2f} tokens/s "
                f"{result['peak_memory_bytes'] / 2**20:10.1f} MB  loss {result['losses'][-1]:.6f}",
                flush=True,
            )
    device = results[options.arms[0]][0]["device"]
    print(f"mlx {version('mlx')}, mlx-lm {version('mlx-lm')}, {device}")
    # On a GPU the processor only waits.
    speeds = ["tokens_per_second", "tokens_per_processor_second"] if "cpu" in device else ["tokens_per_second"]
    allowed, worst = 1e-4 if options.dtype == "float32" else 2e-2, 0.0
    for mine in (arm for arm in options.arms if arm in OWN):
        if "mlx-lm" in results:
            pairs = zip(results[mine], results["mlx-lm"])
            differences = [abs(a - b) / abs(b) for own, other in pairs for a, b in zip(own["losses"], other["losses"])]
            worst = max([worst, *differences])
            print(f"losses of {mine} and mlx-lm differ by {max(differences):.1e} at most")
        for metric in [*speeds, "peak_memory_bytes"]:
            for other in (arm for arm in options.arms if arm not in OWN):
                ratios = [a[metric] / b[metric] for a, b in zip(results[mine], results[other])]
                estimate, least, largest, coverage = interval(ratios)
                print(
                    f"{metric:27} {mine:8} / {other:7} {estimate:.3f}  [{least:.3f}, {largest:.3f}] "
                    f"from {len(ratios)} pairs, {100 * coverage:.1f} %"
                )
    if not worst <= allowed:
        sys.exit(f"the losses differ by {worst:.1e}, allowed is {allowed:.0e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder in MLX-LM's format instead of a random one")
    parser.add_argument("--shapes", choices=SHAPES, default="small")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--num-layers", type=int, default=3, help="blocks with adapters, from the last; 0: all")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--scale", type=float, default=16.0)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--no-compile", action="store_true", help="run the step operation by operation")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["mlx-lm", "packed", "lora"], help="what is compared")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    measure(options) if options.arm else compare(options)


if __name__ == "__main__":
    main()
