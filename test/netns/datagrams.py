# SPDX-License-Identifier: BSD-2-Clause
"""UDP for the end-to-end tests: a server that echoes, and who asks it."""
from conftest import python

# Level and name of socket options: send, and take, UDP without a checksum.
SO_NO_CHECK = "1,11"
UDP_NO_CHECK6_TX = "17,101"
UDP_NO_CHECK6_RX = "17,102"

ECHO = """
import socket, sys
address, port, options = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, port))
for option in options:
    server.setsockopt(*map(int, option.split(",")), 1)
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(65535)
    server.sendto(data, peer)
"""

# Sends a datagram of each size and prints the sizes of which the same came back.
ASK = """
import socket, sys
address, port, sizes, options = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4:]
probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
probe.connect((address, port))
probe.settimeout(1)
for option in options:
    probe.setsockopt(*map(int, option.split(",")), 1)
for size in map(int, sizes):
    data = bytes((size + i * 7) % 251 for i in range(size))
    probe.send(data)
    try:
        print(size if probe.recv(65535) == data else f"{size}:changed")
    except OSError as error:
        print(f"{size}:{type(error).__name__}")
        probe.settimeout(0.3)
"""

SMALL = [0, 1, 2, 7, 100, 1000, 1001, 1231, 1232]
LARGE = [1233, 1400, 1451, 1452]  # from IPv4 fragmented by isthmus


def ask(machine, address, port, sizes, *options):
    out = python(machine, ASK, address, str(port), ",".join(map(str, sizes)), *options)
    return [int(word) if word.isdigit() else word for word in out.split()]
