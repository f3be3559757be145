# SPDX-License-Identifier: BSD-2-Clause
"""Many TCP connections at once, both ends: a program for the end-to-end tests.

    connections.py serve ADDRESS PORT          echo every byte, keep all connections open
    connections.py open ADDRESS PORT COUNT     open COUNT, send a byte on each and await its echo;
                                               print "open COUNT"; after each line on stdin once more,
                                               printing "echoed COUNT"; at its end close all and stop

Any connection that fails ends the program with a sentence and exit status 1.
"""
import resource
import select
import socket
import sys

BATCH = 200  # connections being opened at one time: fewer than a listen queue holds
PATIENCE = 20  # seconds


def raise_file_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(address, port):
    listener = socket.create_server((address, port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    peers = {}
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                peer, _ = listener.accept()
                peers[peer.fileno()] = peer
                poll.register(peer, select.EPOLLIN)
                continue
            try:
                data = peers[number].recv(4096)
            except ConnectionError:
                data = b""
            if data:
                peers[number].send(data)
            else:
                peers.pop(number).close()


def connect_all(address, port, count):
    """`count` connections, each proved by an echoed byte."""
    connections = []
    while len(connections) < count:
        batch = []
        for _ in range(min(BATCH, count - len(connections))):
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            connection.setblocking(False)
            connection.connect_ex((address, port))
            batch.append(connection)
        echo_all(batch)
        connections += batch
    return connections


def echo_all(connections):
    """Sends a byte on each connection as soon as it is writable and awaits the same byte."""
    poll = select.epoll()
    waiting = {connection.fileno(): connection for connection in connections}
    for number in waiting:
        poll.register(number, select.EPOLLOUT)
    while waiting:
        events = poll.poll(PATIENCE)
        if not events:
            sys.exit(f"{len(waiting)} of {len(connections)} connections gave no answer in {PATIENCE} s")
        for number, event in events:
            connection = waiting[number]
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                sys.exit(f"a connection failed: error {error}")
            if event & select.EPOLLOUT:
                connection.send(b"x")
                poll.modify(number, select.EPOLLIN)
            elif connection.recv(16) != b"x":
                sys.exit("a connection was closed or answered with something else")
            else:
                poll.unregister(number)
                del waiting[number]
    poll.close()


def hold(address, port, count):
    connections = connect_all(address, port, count)
    print(f"open {len(connections)}", flush=True)
    for _ in sys.stdin:
        echo_all(connections)
        print(f"echoed {len(connections)}", flush=True)
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    raise_file_limit()
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
