# SPDX-License-Identifier: BSD-2-Clause
"""Files by curl, down and up, in several ways at once, for the end-to-end tests of path MTUs."""
import hashlib
import os

TIMED_OUT = 28  # curl's exit status


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class Transfers:
    """The file of the lab's web server down, and up again, by each of `urls` at once, from `machine`; `slow`: at 2 MB
    a second, which curl keeps to when it sends, and the server when it does."""

    def __init__(self, lab, machine, urls, seconds=20, slow=False):
        self.lab = lab
        self.processes = []
        self.copies = []
        command = ["curl", "-sS", "--fail", "--max-time", str(seconds), *(["--limit-rate", "2M"] if slow else [])]
        for number, url in enumerate(urls):
            down, up = lab.path(f"down{number}"), lab.path("www", "upload", f"up{number}")
            self.copies += [down, up]
            self.processes.append(machine.start([*command, "-o", down, url + ("/slow" if slow else "/file")]))
            self.processes.append(machine.start([*command, "-T", lab.path("www", "file"),
                                                 f"{url}/upload/up{number}"]))

    def wait(self):
        """The exit status of each: down, up, down, up and so on. Copies that are said to be whole are."""
        statuses = [process.wait(60) for process in self.processes]
        original = digest(self.lab.path("www", "file"))
        for status, copy in zip(statuses, self.copies):
            assert status != 0 or digest(copy) == original, copy
            if os.path.exists(copy):
                os.remove(copy)
        return statuses
