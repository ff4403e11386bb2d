# Does the server of Python's `websockets` work with a client?
#
# usage: server.py COMPRESSION
#
# COMPRESSION is JSON: null for none, true for the default of the library, or parameters.
# Prints `{"port": …}`, and one line for each connection that has ended. The path selects
# the behaviour: /echo, /fragments (echoes in fragments), /ping (pings, and reports the
# pong), /close (with a code and a reason). Exits at the end of its input.

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import websockets
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from payloads import pieces


async def handle(ws):
    url = urlsplit(ws.request.path)
    try:
        if url.path == "/close":
            await close(ws, parse_qs(url.query))
        if url.path == "/ping":
            await (await ws.ping())
            await ws.send("pong")
        async for message in ws:
            if url.path == "/fragments":
                await ws.send(pieces(message), text=isinstance(message, str))
            else:
                await ws.send(message)
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    ended = {"path": ws.request.path, "code": ws.close_code, "reason": ws.close_reason}
    print(json.dumps(ended), flush=True)


async def close(ws, query):
    code = int(query["code"][0])
    if code == 1005:
        async with ws.send_context():
            ws.protocol.send_close()
    else:
        await ws.close(code, query.get("reason", [""])[0])


async def run(answer):
    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=["other", "echo"],
        compression="deflate" if answer is True else None,
        extensions=[ServerPerMessageDeflateFactory(**answer)] if isinstance(answer, dict) else None,
        max_size=None,
        ping_interval=None,
    ) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if sys.argv[1] == "--version":
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"websockets {websockets.__version__} on Python {python}")
else:
    asyncio.run(run(json.loads(sys.argv[1])))
