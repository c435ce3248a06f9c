#!/usr/bin/env python3
"""Stands in for the trial runner: speaks its protocol and does what comments in the "plugin" tell it to.

Its answers begin with numbers that the stand-in for the grader understands: to a challenge an error and the challenge's seed,
after a trial deviation, validation loss, floor and the trial's seed.

// seconds: 0.02      how long a trial takes; the evaluator's clock must find that out by itself
// memory: 1000       peak bytes that it claims
// hold: 1000000      bytes that it really has in a trial beside those
// loss: 5.0          validation loss
// deviation: 0.5     how far its adapters are off
// off-once: FILE     its adapters are off by 0.015 in a trial unless FILE exists, which it makes
// floor: 9           seconds that physics asks for
// seed: wrong        trains with another seed than the one it was given
// check: 0.5         error of one comparison
// name: other        claims that another kernel ran
// layers: 0          claims that the kernel was applied to no layer
// claims: best       says that it trains, computes and answers better than it does
// crash: trial       dies (also: crash: check)
// crash-fourth: FILE dies in the fourth whole trial, which it counts in FILE
// fail: trial        reports an error of the kernel (also: fail: check)
// blame: trial       reports an error of the set-up (also: blame: check)
// blame-if: FILE     reports an error of the set-up in a check if FILE is there
// hang: trial        never answers (also: hang: check)
// drip: trial        answers forever, a byte at a time
// garbage: check     answers what is no frame (also: garbage: trial)
// only: trial        is well-behaved in checks
// bytes: short       a raw frame that is too short (also: long, none, announced)
// early: trial       answers before it is asked (also: early: check)
// kill-once: FILE    kills itself with SIGKILL in a trial unless FILE exists, which it makes
// ghost: check       the results that are judged aren't the kernel's (also: ghost: trial), so sabotage makes no difference

Except for the last one, a sabotaged build does as it is told only what any kernel does.
"""
import json
import os
import re
import signal
import struct
import sys
import time

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer


def read():
    head = stdin.read(4)
    if len(head) < 4:
        sys.exit(0)
    return json.loads(stdin.read(struct.unpack("<I", head)[0]))


def frame(body):
    return struct.pack("<I", len(body)) + body


def write_raw(body):
    stdout.write(frame(body))
    stdout.flush()


def write(message):
    write_raw(json.dumps(message).encode())


def fail(blame, message):
    write({"reply": "failed", "blame": blame, "message": message})
    stdin.read()


def answer(reply, body):
    """A reply with its raw frame, or what a cheat sends instead of that."""
    how = orders.get("bytes")
    write({"reply": reply, "bytes": len(body) + (how == "announced")})
    if orders.get("drip") == kind:
        stdout.write(struct.pack("<I", len(body)))
        while True:
            stdout.write(b"\0")
            stdout.flush()
            time.sleep(0.2)
    if how != "none":
        write_raw(body[:-1] if how == "short" else body + b"\0" * 8 if how == "long" else body)


def misbehave():
    if orders.get("crash") == kind:
        print("the kernel's last words", file=sys.stderr)
        os.abort()
    if orders.get("fail") == kind:
        fail("kernel", "shapes do not match")
    if orders.get("blame") == kind or (kind == "check" and os.path.exists(orders.get("blame-if", ""))):
        fail("setup", "no such model")
    if orders.get("hang") == kind:
        time.sleep(600)
    if orders.get("garbage") == kind:
        stdout.write(b"Hello, world! I am a kernel that prints.")
        stdout.flush()
        stdin.read()


def check():
    while True:
        challenge = read()
        misbehave()
        case, seed = challenge["case"], challenge["seed"]
        size = {"float32": 4, "float16": 2, "bfloat16": 2}[case["dtype"]]
        rows = case["batch"] * case["length"] * size
        outputs = [layer["output"] for layer in (case, *case.get("siblings", []))]
        adapters = 4 * case["rank"] * sum(case["input"] + output for output in outputs)
        length = 3 * rows * sum(outputs) + 2 * rows * case["input"] + 2 * adapters
        error = 0.0
        if (case["batch"], case["length"], case["input"]) == (1, 7, 256):
            error = float(orders.get("check", 0))
        if sabotaged and ghost != "check":
            error = 2.0
        answer("answer", struct.pack("<dQ", error, seed).ljust(length, b"\0"))


def trial(training):
    # What a trial may see: texts to train on and nothing else; no seed before the start signal.
    assert os.listdir(training["data"]) == ["train.jsonl"], "there is more than texts to train on"
    texts = open(os.path.join(training["data"], "train.jsonl")).read()
    assert "to train on" in texts and "held out" not in texts + json.dumps(request), "held-out texts are here"
    assert "seed" not in request and request["model"] == {"folder": "/prepared/model"}, request
    if "crash-fourth" in orders and training["iterations"] > 1:
        with open(orders["crash-fourth"], "a+") as count:
            count.write("x")
            if count.tell() == 4:
                os.abort()
    if "kill-once" in orders and not os.path.exists(orders["kill-once"]):
        open(orders["kill-once"], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    seed = read()["seed"]
    misbehave()
    held = bytearray(int(orders.get("hold", 0)))
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(float(orders.get("seconds", 0.05)))
    if "off-once" in orders and not sabotaged and not os.path.exists(orders["off-once"]):
        open(orders["off-once"], "w").close()
        orders["deviation"] = 0.015
    deviation = 2.0 if sabotaged and ghost != "trial" else float(orders.get("deviation", 0))
    if orders.get("seed") == "wrong":
        seed += 1
    numbers = (deviation, float(orders.get("loss", 5)), float(orders.get("floor", 0)), seed)
    answer("trained", struct.pack("<dddQ", *numbers))
    best = orders.get("claims") == "best"
    time.sleep(0.02)
    write({
        "reply": "trial", "kernel": orders.get("name", plugin["kernel"]),
        "kernel_layers": int(orders.get("layers", 4)), "kernel_calls": 40, "quantized_layers": 9,
        "seconds": 1e-9 if best else 0.05, "losses": [6.0, 0.0 if best else 5.5],
        "peak_memory_bytes": int(orders.get("memory", 1000)), "active_memory_bytes": 500,
        # What older runners said, and what nobody asks a runner any more.
        **({"tokens": 10 ** 9, "validation_loss": 0.0, "tokens_per_second": 1e12} if best else {}),
    })
    stdin.read()


request = read()
kind = request["request"]
# Without a plugin it is MLX-LM's own layer.
plugin = request.get("plugin") or {"kernel": "mlx-lm", "path": os.devnull}
orders = dict(re.findall(r"^// ([a-z-]+): (.*)$", open(plugin["path"]).read(), re.M))
sabotaged, ghost = "sabotaged" in orders, orders.get("ghost")
if sabotaged or orders.get("only", kind) != kind:
    orders = {}
ready = frame(json.dumps({"reply": "ready"}).encode())
if orders.get("early") == kind:
    reply = "answer" if kind == "check" else "trained"
    ready += frame(json.dumps({"reply": reply, "bytes": 32}).encode()) + frame(bytes(32))
stdout.write(ready)
stdout.flush()
if kind == "check":
    check()
else:
    trial(request["training"])
