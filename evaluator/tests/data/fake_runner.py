#!/usr/bin/env python3
"""Stands in for the trial runner: speaks its protocol and does what comments in the "plugin" tell it to.

// seconds: 0.02      how long a trial takes; the evaluator's clock must find that out by itself
// memory: 1000       peak bytes that it claims
// loss: 5.0          validation loss; null is what serde_json makes of NaN
// check: 0.5         error of one comparison
// name: other        claims that another kernel ran
// layers: 0          claims that the kernel was applied to no layer
// crash: trial       dies (also: crash: check, crash: candidate seeds only, crash: late)
// fail: trial        reports an error of the kernel (fail: setup: an error of the set-up)
// hang: trial        never answers
// garbage: trial     answers what is no frame
// kill-once: FILE    kills itself with SIGKILL unless FILE exists, which it makes
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


def write(message):
    body = json.dumps(message).encode()
    stdout.write(struct.pack("<I", len(body)) + body)
    stdout.flush()


request = read()
kind = request["request"]
plugin = request["plugin"]
orders = dict(re.findall(r"^// ([a-z-]+): (.*)$", open(plugin["path"]).read(), re.M))
is_candidate_trial = kind == "trial" and request["seed"] >= 100

if orders.get("fail") == "setup" and kind == "trial":
    write({"reply": "failed", "blame": "setup", "message": "no such model"})
    stdin.read()
if kind == "trial":
    write({"reply": "ready"})
    read()

if "kill-once" in orders and kind == "trial" and not os.path.exists(orders["kill-once"]):
    open(orders["kill-once"], "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
crash = orders.get("crash")
if crash == kind or (crash == "late" and kind == "trial" and request["seed"] == 103):
    print("the kernel's last words", file=sys.stderr)
    os.abort()
if orders.get("fail") == kind:
    write({"reply": "failed", "blame": "kernel", "message": "shapes do not match"})
    stdin.read()
if orders.get("hang") == kind:
    time.sleep(600)
if orders.get("garbage") == kind:
    stdout.write(b"Hello, world! I am a kernel that prints.")
    stdout.flush()
    stdin.read()

if kind == "check":
    comparisons = []
    for case in range(len(request["cases"])):
        for quantity in ["forward", "grad x", "grad lora_a", "grad lora_b"]:
            error = float(orders.get("check", 0)) if (case, quantity) == (1, "grad x") else 1e-7
            tolerance = request["tolerance"]
            comparisons.append(dict(case=case, quantity=quantity, error=error, tolerance=tolerance,
                                    passed=error <= tolerance, note=None))
    write({"reply": "check", "kernel": plugin["kernel"], "comparisons": comparisons})
else:
    time.sleep(float(orders.get("seconds", 0.05)))
    write({"reply": "trained"})
    write({
        "reply": "trial", "kernel": orders.get("name", plugin["kernel"]), "kernel_layers": int(orders.get("layers", 4)),
        "kernel_calls": 40, "quantized_layers": int(orders.get("quantized", 9)), "tokens": 1000,
        "seconds": 0.000001, "losses": [6.0, 5.5], "validation_loss": json.loads(orders.get("loss", "5.0")),
        "peak_memory_bytes": int(orders.get("memory", 1000)), "active_memory_bytes": 500,
    })
stdin.read()
