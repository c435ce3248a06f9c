#!/usr/bin/env python3
"""Records fine-tuning runs by MLX-LM, for `parity` to repeat.

    python make_parity.py OUT            # the built-in variety: dtypes, bits, group sizes, ranks, lengths, heads
    python make_parity.py OUT --only NAME

Needs `mlx-lm` (and `mlx[cpu]` on Linux). Each model folder is a random quantized Qwen2; each run folder in it holds
what `parity` reads (see tests/parity/README.md). Nothing of the trainer is used here.
"""

import argparse
import json
import math
import random
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optimizers
from mlx.utils import tree_flatten
from mlx_lm.models.qwen2 import Model, ModelArgs
from mlx_lm.tuner.trainer import default_loss
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}

# name: model settings, then a list of runs
VARIETY = {
    "f32-4bit-tied": (
        dict(hidden=128, layers=3, inner=256, heads=4, kv=2, vocab=300, group=64, bits=4, tied=True),
        [
            dict(name="rank8", layers=2, rank=8, scale=16.0, rate=1e-3, iters=10, batch=2, length=33),
            dict(name="last-only-adamw", layers=1, rank=3, scale=5.0, rate=2e-3, iters=8, batch=3, length=20, opt="adamw"),
            dict(name="all-blocks", layers=0, rank=1, scale=20.0, rate=1e-4, iters=6, batch=1, length=17),
            dict(name="offsets", layers=3, rank=4, scale=10.0, rate=1e-3, iters=8, batch=4, length=25, offsets=True),
            dict(name="default-init", layers=2, rank=4, scale=10.0, rate=1e-3, iters=8, batch=2, length=25, init_seed=11),
            dict(name="uncompiled", layers=2, rank=4, scale=10.0, rate=1e-3, iters=8, batch=2, length=25, compiled=False),
            dict(kind="dora", name="rank8", layers=2, rank=8, scale=16.0, rate=1e-3, iters=10, batch=2, length=33),
            dict(kind="dora", name="default-init", layers=0, rank=4, scale=10.0, rate=1e-4, iters=8, batch=2, length=25, init_seed=11),
        ],
    ),
    "f32-8bit-untied": (
        dict(hidden=96, layers=2, inner=224, heads=3, kv=1, vocab=512, group=32, bits=8, tied=False, theta=10000.0),
        [
            dict(name="rank16", layers=2, rank=16, scale=1.0, rate=1e-2, iters=10, batch=4, length=40),
            dict(name="two-tokens", layers=1, rank=2, scale=20.0, rate=1e-3, iters=5, batch=2, length=2),
        ],
    ),
    "f32-4bit-g128": (
        dict(hidden=256, layers=2, inner=384, heads=8, kv=8, vocab=257, group=128, bits=4, tied=True, eps=1e-5),
        [dict(name="adamw", layers=2, rank=5, scale=8.0, rate=5e-4, iters=20, batch=2, length=65, opt="adamw")],
    ),
    "f32-mixed": (
        dict(hidden=128, layers=2, inner=256, heads=4, kv=2, vocab=320, group=64, bits=4, tied=False, mixed=True),
        [dict(name="rank8", layers=2, rank=8, scale=16.0, rate=1e-3, iters=8, batch=2, length=33)],
    ),
    "f32-plain": (
        dict(hidden=64, layers=2, inner=128, heads=4, kv=2, vocab=200, group=64, bits=None, tied=True),
        [dict(name="rank8", layers=2, rank=8, scale=16.0, rate=1e-3, iters=8, batch=2, length=33)],
    ),
    "f32-linear-rope": (
        dict(hidden=64, layers=1, inner=128, heads=2, kv=1, vocab=128, group=32, bits=4, tied=True, rope_factor=4.0),
        [dict(name="rank8", layers=1, rank=8, scale=16.0, rate=1e-3, iters=6, batch=2, length=33)],
    ),
    "bf16-4bit": (
        dict(hidden=128, layers=2, inner=256, heads=4, kv=2, vocab=256, group=64, bits=4, tied=True, dtype="bfloat16"),
        [
            dict(name="adam", layers=2, rank=8, scale=16.0, rate=1e-3, iters=10, batch=2, length=33),
            dict(name="adamw", layers=1, rank=4, scale=20.0, rate=1e-3, iters=10, batch=3, length=25, opt="adamw"),
            dict(kind="dora", name="adamw", layers=2, rank=4, scale=4.0, rate=1e-3, iters=8, batch=2, length=29, opt="adamw"),
        ],
    ),
    "f16-8bit-untied": (
        dict(hidden=128, layers=2, inner=192, heads=4, kv=4, vocab=333, group=64, bits=8, tied=False, dtype="float16"),
        [
            dict(name="adam", layers=2, rank=8, scale=16.0, rate=1e-3, iters=10, batch=2, length=33),
            dict(name="adamw", layers=2, rank=4, scale=4.0, rate=1e-3, iters=8, batch=2, length=29, opt="adamw"),
        ],
    ),
}


def make_model(folder, seed, m):
    """Writes config.json and model.safetensors of a random quantized model."""
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": m["hidden"],
        "num_hidden_layers": m["layers"],
        "intermediate_size": m["inner"],
        "num_attention_heads": m["heads"],
        "num_key_value_heads": m["kv"],
        "rms_norm_eps": m.get("eps", 1e-6),
        "vocab_size": m["vocab"],
        "max_position_embeddings": 512,
        "rope_theta": m.get("theta", 1000000.0),
        "tie_word_embeddings": m["tied"],
        "torch_dtype": m.get("dtype", "float32"),
    }
    if "rope_factor" in m:
        config["rope_scaling"] = {"type": "linear", "factor": m["rope_factor"]}
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(config))
    # Norms and biases away from their trivial start, so that forgetting one shows.
    noisy = []
    for name, value in tree_flatten(model.parameters()):
        if "layernorm" in name or name.endswith("norm.weight"):
            value = value + 0.1 * mx.random.normal(value.shape)
        elif name.endswith(".bias"):
            value = 0.1 * mx.random.normal(value.shape)
        noisy.append((name, value.astype(DTYPES[m.get("dtype", "float32")])))
    model.load_weights(noisy)
    if m["bits"]:
        exceptions = {}

        def settings(path, module):
            if not hasattr(module, "to_quantized"):
                return False
            if m.get("mixed"):
                if path.endswith("o_proj"):
                    exceptions[path] = False
                    return False
                if path.endswith("down_proj") or path == "lm_head":
                    exceptions[path] = {"group_size": 32, "bits": 8}
                    return exceptions[path]
            return True

        nn.quantize(model, group_size=m["group"], bits=m["bits"], class_predicate=settings)
        config["quantization"] = {"group_size": m["group"], "bits": m["bits"], **exceptions}
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def make_batches(rng, vocab, r):
    """Rows of random length, zero padded, with (offset, length) pairs."""
    tokens, lengths = [], []
    for _ in range(r["iters"]):
        rows, pairs = [], []
        for _ in range(r["batch"]):
            used = rng.randint(max(2, r["length"] // 2), r["length"])
            rows.append([rng.randrange(1, vocab) for _ in range(used)] + [0] * (r["length"] - used))
            pairs.append([rng.randint(0, used // 2) if r.get("offsets") else 0, used])
        tokens.append(rows)
        lengths.append(pairs)
    return mx.array(tokens, mx.int32), mx.array(lengths, mx.int32)


def record(folder, seed, vocab, r):
    """Fine-tunes with MLX-LM's own pieces and writes everything down."""
    kind = r.get("kind", "lora")
    out = folder / f"{kind}-{r['name']}"
    out.mkdir(exist_ok=True)
    model, _ = load_model(folder)
    model.freeze()
    mx.random.seed(r.get("init_seed", seed))
    settings = {"rank": r["rank"], "scale": r["scale"], "dropout": 0.0}
    linear_to_lora_layers(model, r["layers"], settings, use_dora=kind == "dora")
    if "init_seed" not in r:
        # A zero lora_b would hide lora_a from the first gradients.
        adapters = tree_flatten(model.trainable_parameters())
        adapters = [(k, 0.02 * mx.random.normal(v.shape) if k.endswith("lora_b") else v) for k, v in adapters]
        model.load_weights(adapters, strict=False)

    def save(name, arrays):
        mx.eval(list(arrays.values()))
        mx.save_safetensors(str(out / f"{name}.safetensors"), arrays)

    adapters = lambda: dict(tree_flatten(model.trainable_parameters()))
    tokens, lengths = make_batches(random.Random(seed), vocab, r)
    save("adapters_init", adapters())
    save("batches", {"tokens": tokens, "lengths": lengths})
    model.train()
    loss_and_gradients = nn.value_and_grad(model, default_loss)
    save("logits_step0", {"logits": model(tokens[0][:, :-1])[:, -1, :].astype(mx.float32)})
    save("grads_step0", dict(tree_flatten(loss_and_gradients(model, tokens[0], lengths[0])[1])))

    optimizer = {"adam": optimizers.Adam, "adamw": optimizers.AdamW}[r.get("opt", "adam")](learning_rate=r["rate"])
    state = [model.state, optimizer.state, mx.random.state]

    def step(batch, where):
        (loss, _), gradients = loss_and_gradients(model, batch, where)
        optimizer.update(model, gradients)
        return loss

    if r.get("compiled", True):
        step = mx.compile(step, inputs=state, outputs=state)
    losses = []
    for batch, where in zip(tokens, lengths):
        loss = step(batch, where)
        mx.eval(state, loss)
        losses.append(loss.item())
    assert all(math.isfinite(loss) for loss in losses)
    save("adapters_final", adapters())
    expected = {
        "kind": kind,
        "optimizer": r.get("opt", "adam"),
        "num_layers": r["layers"],
        "rank": r["rank"],
        "scale": r["scale"],
        "dropout": 0.0,
        "learning_rate": r["rate"],
        "iters": r["iters"],
        "batch_size": r["batch"],
        "sequence_length": r["length"],
        "losses": losses,
        "versions": {"mlx": version("mlx"), "mlx_lm": version("mlx-lm")},
    }
    if "init_seed" in r:
        expected["init_seed"] = r["init_seed"]
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{out}: losses {losses[0]:.4f} … {losses[-1]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", help="one model of the variety")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for index, (name, (model, runs)) in enumerate(VARIETY.items()):
        if arguments.only in (None, name):
            folder = arguments.out / name
            make_model(folder, arguments.seed + index, model)
            for number, run in enumerate(runs):
                record(folder, arguments.seed + 100 * index + number, model["vocab"], run)


if __name__ == "__main__":
    main()
