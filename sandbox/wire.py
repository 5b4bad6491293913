"""How an answer travels: whole and at once, or as a fault has it."""

import asyncio
import socket
import struct
from typing import cast

from aiohttp import web

from sandbox.answers import Answer
from sandbox.faults import Fault


async def send(answer: Answer, fault: Fault | None, request: web.Request) -> web.Response:
    """Send the answer the way the fault asks for; returns what the web framework has left to send."""
    if fault and fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    transport = request.transport
    if fault is None or transport is None or transport.is_closing():
        return answer.response()
    if fault.cuts_before_answer:
        _reset(transport)
    elif fault.kind == "reset_body":
        await _reset_in_body(answer, transport)
    elif fault.kind == "drip":
        await _drip(answer, fault.seconds, transport)
    # Where the connection is closed by now, the framework drops this without a word.
    return answer.response()


async def _drip(answer: Answer, seconds: float, transport: asyncio.Transport) -> None:
    content, clock = answer.encoded(), asyncio.get_running_loop().time
    started = clock()
    for sent, byte in enumerate(content, start=1):
        if transport.is_closing():
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(started + seconds * sent / len(content) - clock())
    transport.close()


async def _reset_in_body(answer: Answer, transport: asyncio.Transport) -> None:
    transport.write(answer.encoded()[: -max(1, len(answer.body) // 2)])
    # A reset may overtake bytes that the peer's system hasn't handed over yet.
    await asyncio.sleep(0.02)
    _reset(transport)


def _reset(transport: asyncio.Transport) -> None:
    # Closing with a linger time of zero sends RST in place of FIN. A closed transport has lost its socket.
    if not transport.is_closing():
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
