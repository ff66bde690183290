"""A TCP balancer that breaks connections.

balancer.py SEED CONTROL LISTEN... -- BACKEND...

Listens on one port of 127.0.0.1 for each sender (LISTEN) and passes what comes to one of the servers (BACKEND) in turn, or to
another one where nobody answers. Of each request it decides, by SEED, whether its connection is reset, and when. On the port
CONTROL it tells in JSON, to whoever asks by HTTP, what it has done.
"""

import asyncio
import collections
import itertools
import json
import random
import socket
import struct
import sys

# What becomes of a request, and how often.
FATES = {
    "passed": 60,
    "cut before it was sent": 6,
    "cut within": 6,
    "cut while it was worked on": 8,
    "cut before the answer": 14,
    "cut within the answer": 6,
}

split = sys.argv.index("--")
seed, control = sys.argv[1], int(sys.argv[2])
senders = [int(port) for port in sys.argv[3:split]]
backends = [int(port) for port in sys.argv[split + 1:]]
dice = random.Random(seed)
turns = itertools.count()
told = {str(port): {"requests": 0, "answered": collections.Counter(), "fates": collections.Counter()} for port in senders}
served = {str(port): 0 for port in backends}
unreachable = collections.Counter()


def reset(writer):
    """Ends a connection at once, as a cable does that is pulled."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reach():
    """A connection to the server whose turn it is, or to the next one that takes it."""
    first = next(turns)
    for nth in range(len(backends)):
        port = str(backends[(first + nth) % len(backends)])
        try:
            return port, *await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            unreachable[port] += 1
    return None


class Exchange:
    """One connection of a sender, with one request after the other."""

    def __init__(self, numbers, port):
        self.numbers, self.port, self.fate, self.asking = numbers, port, "passed", False

    async def requests(self, reader, writer):
        while data := await reader.read(65536):
            if not self.asking:
                self.asking = True
                self.numbers["requests"] += 1
                self.fate = dice.choices(list(FATES), FATES.values())[0]
                if self.fate == "cut before it was sent":
                    return self.cut()
                if self.fate == "cut within":
                    writer.write(data[:dice.randrange(1, len(data))])
                    await writer.drain()
                    return self.cut()
            writer.write(data)
            await writer.drain()
            # The end of these bodies: whatever is left of it may come in another piece.
            if self.fate == "cut while it was worked on" and data.rstrip().endswith(b"}"):
                await asyncio.sleep(dice.random() * 0.02)
                return self.cut()

    async def answers(self, reader, writer):
        while data := await reader.read(65536):
            if self.asking:
                self.asking = False
                if self.fate in ("cut while it was worked on", "cut before the answer"):
                    return self.cut()
                if self.fate == "cut within the answer":
                    writer.write(data[:dice.randrange(1, len(data))])
                    await writer.drain()
                    return self.cut()
                served[self.port] += 1
                self.numbers["fates"]["passed"] += 1
                self.numbers["answered"][data[9:12].decode("latin-1")] += 1
            writer.write(data)
            await writer.drain()

    def cut(self):
        self.numbers["fates"][self.fate] += 1


async def carry(numbers, reader, writer):
    found = await reach()
    if found is None:
        return reset(writer)
    port, from_server, to_server = found
    exchange = Exchange(numbers, port)
    ways = [asyncio.create_task(exchange.requests(reader, to_server)), asyncio.create_task(exchange.answers(from_server, writer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    reset(writer)
    reset(to_server)


async def tell(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps({"senders": told, "served": served, "unreachable": unreachable}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


async def main():
    for port in senders:
        await asyncio.start_server(lambda reader, writer, port=str(port): carry(told[port], reader, writer), "127.0.0.1", port)
    await asyncio.start_server(tell, "127.0.0.1", control)
    await asyncio.Event().wait()


asyncio.run(main())
