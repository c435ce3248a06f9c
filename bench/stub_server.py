#!/usr/bin/env python3
"""An OpenAI-compatible server that answers at once, or always after the same time, with a program that it never sent before.

    python3 stub_server.py PROGRAM [--latency SECONDS] [--port PORT] [--skip REPLIES]

The reply is PROGRAM as a whole, with another number in its line `VALUE = ...`. The first line of output is the server's address. GET /times tells when
each request for a completion came (seconds of the monotonic clock); POST /latency with a number as its body sets the latency from then on.
"""

import argparse
import asyncio
import json
import re
import time
from pathlib import Path

GOLDEN = 0.6180339887498949


class Replies:
    """The same program with ever new numbers between 0 and 1, spread evenly."""

    def __init__(self, program, skip):
        before, _, after = re.split(r"^(VALUE = ).*$", program, maxsplit=1, flags=re.MULTILINE)
        self.before, self.after = f"Another number should help.\n\n```python\n{before}VALUE = ", f"{after.rstrip()}\n```\n"
        self.count = skip

    def next(self):
        self.count += 1
        return f"{self.before}{self.count * GOLDEN % 1:.15f}{self.after}"


class Server:
    def __init__(self, replies, latency):
        self.replies, self.latency, self.times = replies, latency, []


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as clients of such servers speak it: requests with a length, one after the other."""

    def __init__(self, server):
        self.server, self.received = server, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end])
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < whole:
                return
            body = bytes(self.received[end + 4 : whole])
            del self.received[:whole]
            self.answer(head.split(b" ", 2)[1], body)

    def answer(self, path, body):
        if path.endswith(b"/chat/completions"):
            self.server.times.append(time.monotonic())
            text = completion(self.server.replies.next(), b'"stream":true' in body.replace(b'"stream": true', b'"stream":true'))
            if self.server.latency > 0:
                asyncio.get_running_loop().call_later(self.server.latency, self.send, *text)
            else:
                self.send(*text)
        elif path == b"/times":
            self.send(json.dumps(self.server.times).encode())
        elif path == b"/latency":
            self.server.latency = float(body)
            self.send(b"{}")
        else:
            self.send(b'{"object": "list", "data": [{"id": "stub", "object": "model"}]}')

    def send(self, body, kind=b"application/json"):
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body))


def completion(text, streamed):
    """A whole chat completion, or the same as a stream of events."""
    about = {"id": "stub", "created": 0, "model": "stub"}
    usage = {"prompt_tokens": 2000, "completion_tokens": 500, "total_tokens": 2500}
    if not streamed:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return (json.dumps({**about, "object": "chat.completion", "choices": [choice], "usage": usage}).encode(),)
    choices = [
        [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        [],
    ]
    chunks = [{**about, "object": "chat.completion.chunk", "choices": choice} for choice in choices]
    chunks[-1]["usage"] = usage
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode(), b"text/event-stream"


async def serve(arguments):
    server = Server(Replies(arguments.program.read_text(), arguments.skip), arguments.latency)
    listener = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", arguments.port)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="replies that another server has given already")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
