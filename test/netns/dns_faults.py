# SPDX-License-Identifier: BSD-2-Clause
"""A name server with faults, in front of one without.

    dns_faults.py ADDRESS PORT UPSTREAM-ADDRESS UPSTREAM-PORT

What to do wrong, the first label of the name says, and a second word for which type only: drop-aaaa, drop,
servfail-aaaa, refused-aaaa, formerr-aaaa, notimp-aaaa, nxdomain-aaaa, garbage (a response that ends early),
forged (before the answer come others, with other ids or from another port), slow (half a second). All other queries
go on as they are, and so do all by TCP.
"""
import asyncio
import socket
import struct
import sys

TYPES = {"a": 1, "aaaa": 28}
RCODES = {"formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}


def fault_of(query):
    """What the name asks for, or None."""
    size = query[12]
    name = query[13:13 + size].decode("ascii", "replace").lower()
    end = query.index(0, 12)
    kind, = struct.unpack_from("!H", query, end + 1)
    word, _, only = name.partition("-")
    return word if not only or TYPES.get(only) == kind else None


def failure(query, rcode):
    end = query.index(0, 12) + 5
    return query[:2] + struct.pack("!HHHHH", 0x8400 | rcode, 1, 0, 0, 0) + query[12:end]


def forgeries(query):
    """Answers of 6.6.6.6, or 606:606::, to queries with an id not far from this one's."""
    end = query.index(0, 12) + 5
    size = 4 if query[end - 3] == TYPES["a"] else 16
    record = b"\xc0\x0c" + query[end - 4:end] + struct.pack("!IH", 3600, size) + b"\6\6\6\6" + bytes(size - 4)
    head = struct.pack("!HHHHH", 0x8400, 1, 1, 0, 0)
    right, = struct.unpack("!H", query[:2])
    for number in range(1, 40):
        yield struct.pack("!H", right ^ number) + head + query[12:end] + record


class Upstream(asyncio.DatagramProtocol):
    """One query on its way; the answer goes straight to who asked."""

    def __init__(self, client, peer):
        self.client, self.peer = client, peer
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.client.sendto(data, self.peer)
        self.transport.close()

    def error_received(self, error):
        self.transport.close()


class Faults(asyncio.DatagramProtocol):
    def __init__(self, upstream):
        self.upstream = upstream
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        asyncio.get_running_loop().create_task(self.treat(data, address))

    async def treat(self, query, peer):
        fault = fault_of(query)
        if fault == "drop":
            return
        if fault in RCODES:
            self.transport.sendto(failure(query, RCODES[fault]), peer)
        elif fault == "garbage":
            self.transport.sendto(query[:2] + b"\x84\0\0\1\0\1\0\0\0\0" + query[12:], peer)
        else:
            if fault == "slow":
                await asyncio.sleep(0.5)
            if fault == "forged":
                self.forge(query, peer)
            loop = asyncio.get_running_loop()
            upstream, _ = await loop.create_datagram_endpoint(lambda: Upstream(self.transport, peer),
                                                              remote_addr=self.upstream)
            upstream.sendto(query)


    def forge(self, query, peer):
        for forgery in forgeries(query):
            self.transport.sendto(forgery, peer)
        right = next(forgeries(query))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(query[:2] + right[2:], peer)


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(address, port, upstream):
    async def connected(reader, writer):
        theirs, ours = await asyncio.open_connection(*upstream)
        await asyncio.gather(pump(reader, ours), pump(theirs, writer), return_exceptions=True)

    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Faults(upstream), local_addr=(address, port))
    server = await asyncio.start_server(connected, address, port)
    await server.serve_forever()


def main():
    address, port, upstream, upstream_port = sys.argv[1:]
    asyncio.run(serve(address, int(port), (upstream, int(upstream_port))))


if __name__ == "__main__":
    main()
