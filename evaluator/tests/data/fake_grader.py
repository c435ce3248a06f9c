#!/usr/bin/env python3
"""Stands in for the grader: believes the numbers with which the stand-in for the trial runner begins its answers, if the seed
is the one that was asked for. The problem's data file is JSON and says what else to do:

"quantized": 0       layers of the model with quantized weights
"fail": "..."        can't be prepared
"die_once": FILE     dies over the first answer unless FILE exists, which it makes
"die": true          dies over every answer
"leave_out": "..."   a quantity that it doesn't compare
"blind": true        finds everything right
"""
import json
import os
import struct
import sys

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
QUANTITIES = ["first forward", "forward", "grad x", "grad lora_a", "grad lora_b", "repeated forward",
              "x afterwards", "lora_a afterwards", "lora_b afterwards"]


def read_raw():
    head = stdin.read(4)
    if len(head) < 4:
        sys.exit(0)
    return stdin.read(struct.unpack("<I", head)[0])


def write_raw(body):
    stdout.write(struct.pack("<I", len(body)) + body)
    stdout.flush()


def write(message):
    write_raw(json.dumps(message).encode())


request = json.loads(read_raw())
assert request["request"] == "prepare"
orders = json.load(open(request["training"]["data"]))
if "fail" in orders:
    write({"reply": "failed", "message": orders["fail"]})
    sys.exit(0)
texts = b'{"text": "to train on"}\n'
case = {"batch": 1, "length": 8, "input": 64, "output": 64, "rank": 4, "scale": 10.0,
        "quantization": {"group_size": 64, "bits": 4}, "bias": False, "dtype": "float32"}
slot = {"layer": "model.layers.0.mlp.up_proj", "input": 64, "output": 64, "quantized": True}
write({"reply": "prepared", "train_bytes": len(texts), "quantized_layers": orders.get("quantized", 9), "slots": [slot],
       "adapter_bytes": 32, "lora_bytes": 32, "cases": [case], "files": [], "model": {"folder": "/prepared/model"}})
write_raw(texts)
blind = orders.get("blind", False)

while True:
    question, answer = json.loads(read_raw()), read_raw()
    if orders.get("die") or not os.path.exists(orders.get("die_once", "/")):
        open(orders.get("die_once", "/dev/null"), "w").close()
        print("the grader's last words", file=sys.stderr)
        os.abort()
    if question["request"] == "check":
        error, seed = struct.unpack("<dQ", answer[:16])
        if seed != question["challenge"]["seed"]:
            error = 9.0
        comparisons = []
        layers = 1 + len(question["challenge"]["case"].get("siblings", []))
        of_x = ("grad x", "x afterwards")
        quantities = [quantity if layers == 1 or quantity in of_x else f"{quantity} of layer {number}"
                      for quantity in QUANTITIES for number in range(1, 1 + layers)]
        for quantity in quantities:
            if quantity == orders.get("leave_out"):
                continue
            off = error if quantity == "grad x" and not blind else 1e-7
            comparisons.append({"quantity": quantity, "error": off, "tolerance": 1e-3, "passed": off <= 1e-3, "note": None})
        write({"reply": "checked", "comparisons": comparisons})
    else:
        assert question["iterations"] in (1, 2) and len(answer) == 32
        deviation, loss, floor, seed = struct.unpack("<dddQ", answer)
        if seed != question["seed"]:
            deviation = 1.5
        number = lambda value: value if abs(value) < 1e300 else None
        write({"reply": "trial", "tokens": 1000, "validation_loss": number(loss), "train_loss": 5.5,
               "deviation": 0.0 if blind else number(deviation), "tolerance": 0.01,
               "worst": "model.layers.0.mlp.up_proj lora_a", "floor_seconds": floor})
