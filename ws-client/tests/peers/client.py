# Does the client of Python's `websockets` work with a server?
#
# usage: client.py ROWS
#
# ROWS is JSON: the `url` of the server without a path, the `compression` to offer (null
# for none, true for the default of the library, or parameters), `sizes` of whole messages,
# sizes of messages in `fragments`, the closes of the client (`closes`) and of the server
# (`closed`). Prints the current row to stderr, and finally the negotiated extensions to
# stdout.

import asyncio
import json
import random
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from payloads import binary, pieces, same, text

SUBPROTOCOLS = ["unknown", "echo"]


def row(name):
    print(name, file=sys.stderr, flush=True)


def dial(rows, path):
    offer = rows["compression"]
    return connect(
        rows["url"] + path,
        subprotocols=SUBPROTOCOLS,
        compression="deflate" if offer is True else None,
        extensions=[ClientPerMessageDeflateFactory(**offer)] if isinstance(offer, dict) else None,
        max_size=None,
        ping_interval=None,
        proxy=None,
    )


async def whole(rows):
    """Messages in one frame each."""
    row("opening handshake")
    async with dial(rows, "/echo") as ws:
        same("echo", ws.subprotocol)
        for size in rows["sizes"]:
            for payload in [text(size), binary(size)]:
                row(f"{type(payload).__name__} of {size} bytes, whole")
                await ws.send(payload)
                same(payload, await ws.recv())
        return ws.response.headers.get("Sec-WebSocket-Extensions")


async def fragmented(rows):
    """Messages in fragments, both ways, with pings between those that we send."""
    async with dial(rows, "/fragments") as ws:
        for size in rows["fragments"]:
            for payload in [text(size), binary(size)]:
                row(f"{type(payload).__name__} of {size} bytes, in fragments")
                pongs = []

                async def fragments():
                    for piece in pieces(payload):
                        yield piece
                        pongs.append(await ws.ping())

                await ws.send(fragments(), text=isinstance(payload, str))
                same(payload, await ws.recv())
                await asyncio.gather(*pongs)


async def pinged(rows):
    """Pings both ways. The server says `pong` when it has its pong."""
    async with dial(rows, "/ping") as ws:
        row("ping from the server")
        same("pong", await ws.recv())
        for payload in [b"", b"payload", bytes(125)]:
            row(f"ping with {len(payload)} bytes")
            await (await ws.ping(payload))


async def closing(rows):
    """Closing handshakes that we begin."""
    for path, code, reason in rows["closes"]:
        row(f"close with {code} {reason!r}")
        async with dial(rows, path) as ws:
            if code == 1005:
                async with ws.send_context():
                    ws.protocol.send_close()
                await ws.wait_closed()
            else:
                await ws.close(code, reason)
            same([code, reason], [ws.close_code, ws.close_reason])


async def closed(rows):
    """Closing handshakes that the server begins."""
    for path, code, reason in rows["closed"]:
        row(f"being closed with {code} {reason!r}")
        async with dial(rows, path) as ws:
            try:
                raise AssertionError(f"a message: {await ws.recv()}")
            except ConnectionClosed:
                same([code, reason], [ws.close_code, ws.close_reason])


async def run(rows):
    extensions = await whole(rows)
    await fragmented(rows)
    await pinged(rows)
    await closing(rows)
    await closed(rows)
    print(json.dumps({"extensions": extensions}))


if sys.argv[1] == "--version":
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"websockets {websockets.__version__} on Python {python}")
else:
    random.seed(1)
    try:
        asyncio.run(run(json.loads(sys.argv[1])))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
