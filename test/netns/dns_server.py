# SPDX-License-Identifier: BSD-2-Clause
"""A name server for the end-to-end tests, which answers as many bytes as the name asks for.

    dns_server.py ADDRESS PORT

A query for N.size. TXT is answered by a message of exactly N bytes (at least 200), of strings that hold letters
in order. Like real name servers it lets the network fragment what it sends: no DF bit.
"""
import socket
import struct
import sys

IP_MTU_DISCOVER, IP_PMTUDISC_OMIT = 10, 5
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT = 23, 5
HEADER = struct.Struct("!HHHHHH")
RECORD = struct.Struct("!HHIH")  # type, class, time to live, length; of OPT the class is a size
ANSWER, TXT, OPT = 0x8400, 16, 41
LETTERS = bytes(range(97, 123)) * 10


def strings(length):
    """Character strings that fill a record's data of `length` bytes."""
    data = b""
    while length - len(data) > 0:
        size = min(255, length - len(data) - 1)
        data += bytes([size]) + LETTERS[:size]
    return data


def answer(query):
    identifier = HEADER.unpack(query[:12])[0]
    question = query[12:query.index(0, 12) + 5]
    opt = b"\0" + RECORD.pack(OPT, 4096, 0, 0)
    room = int(question[1:1 + question[0]]) - HEADER.size - len(question) - 2 - RECORD.size - len(opt)
    record = b"\xc0\x0c" + RECORD.pack(TXT, 1, 0, room) + strings(room)
    return HEADER.pack(identifier, ANSWER, 1, 1, 0, 1) + question + record + opt


def main():
    address, port = sys.argv[1], int(sys.argv[2])
    if ":" in address:
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT)
    else:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT)
    server.bind((address, port))
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(4096)
        server.sendto(answer(query), peer)


if __name__ == "__main__":
    main()
