# SPDX-License-Identifier: BSD-2-Clause
"""A minimal FTP server for the end-to-end tests (RFC 959, RFC 2428): passive mode only, one directory.

    ftp_server.py ADDRESS DIRECTORY

It insists, as many do, that data and commands come from the same address.
"""
import os
import socket
import socketserver
import sys


class Session(socketserver.StreamRequestHandler):
    timeout = 30

    def reply(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def listen(self):
        own = self.connection.getsockname()[0]
        self.passive = socket.create_server((own, 0), family=self.connection.family)
        self.passive.settimeout(10)
        return own, self.passive.getsockname()[1]

    def transfer(self, copy):
        self.reply("150 here it comes")
        with self.passive, self.passive.accept()[0] as data:
            if data.getpeername()[0] != self.client_address[0]:
                return self.reply("425 that is somebody else")
            with data.makefile("rwb") as stream:
                copy(stream)
        return self.reply("226 done")

    def do_user(self, _):
        self.reply("331 and the password?")

    def do_pass(self, _):
        self.reply("230 welcome")

    def do_pwd(self, _):
        self.reply('257 "/"')

    def do_type(self, _):
        self.reply("200 as it is")

    def do_epsv(self, _):
        self.reply(f"229 passive (|||{self.listen()[1]}|)")

    def do_pasv(self, _):
        own, port = self.listen()
        self.reply(f"227 passive ({own.replace('.', ',')},{port >> 8},{port & 255})")

    def do_retr(self, name):
        with open(os.path.join(self.server.directory, os.path.basename(name)), "rb") as file:
            content = file.read()
        self.transfer(lambda stream: stream.write(content))

    def do_stor(self, name):
        with open(os.path.join(self.server.directory, os.path.basename(name)), "wb") as file:
            self.transfer(lambda stream: file.write(stream.read()))

    def do_quit(self, _):
        self.reply("221 bye")

    def handle(self):
        self.reply("220 ready")
        for line in self.rfile:
            command, _, argument = line.decode().strip().partition(" ")
            print(command, flush=True)
            getattr(self, "do_" + command.lower(), lambda _: self.reply("502 not here"))(argument)
            if command == "QUIT":
                break


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address, directory):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.directory = directory
        super().__init__((address, 21), Session)


if __name__ == "__main__":
    with Server(sys.argv[1], sys.argv[2]) as server:
        print("ready", flush=True)
        server.serve_forever()
