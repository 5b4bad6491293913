"""Sending of answers: whole and at once, or late, slowly or cut, as a scripted fault says."""

import asyncio
import socket
import struct
from typing import cast

from aiohttp import web

from sandbox.http.answers import VendorAnswer
from sandbox.http.faults import Fault


async def send(answer: VendorAnswer, fault: Fault | None, request: web.Request) -> web.Response:
    """Apply a scripted fault to an answer: delay it, send it byte by byte, or cut the connection.

    Return the response for the web framework, which sends it, or drops it if the connection is closed by now.
    """
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
    # If the connection is closed by now, the framework drops this response silently.
    return answer.response()


async def _drip(answer: VendorAnswer, seconds: float, transport: asyncio.Transport) -> None:
    content, clock = answer.encoded(), asyncio.get_running_loop().time
    started = clock()
    for sent, byte in enumerate(content, start=1):
        if transport.is_closing():
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(started + seconds * sent / len(content) - clock())
    transport.close()


async def _reset_in_body(answer: VendorAnswer, transport: asyncio.Transport) -> None:
    transport.write(answer.encoded()[: -max(1, len(answer.body) // 2)])
    # A reset may discard bytes that the peer's system has not handed to its program yet; this wait prevents that.
    await asyncio.sleep(0.02)
    _reset(transport)


def _reset(transport: asyncio.Transport) -> None:
    # A linger time of zero makes the close send RST instead of FIN. A closed transport has no socket any more.
    if not transport.is_closing():
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
