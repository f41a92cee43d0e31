# Programs that answer a line for a line: only one of them runs at a time, the others are stopped.
# SPDX-License-Identifier: MIT

import atexit
import os
import select
import signal
import subprocess
import sys
import time

alive = set()


class Failed(Exception):
    pass


@atexit.register
def kill_all():
    """A stopped process would outlive this one."""
    for process in list(alive):
        process.kill()


signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def cpus():
    return sorted(os.sched_getaffinity(0))


def busy_seconds():
    """Processor time of everything on this machine."""
    with open("/proc/stat") as file:
        user, nice, system = file.readline().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def available_bytes():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


class Process:
    """Runs from start to `ready`, then stands still but for the time of ask()."""

    def __init__(self, command, env, log, limit, pin=False):
        self.log = log
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}
        with open(log, "wb") as errors:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env={**environment, **env},
                start_new_session=True)
        self.buffer = b""
        alive.add(self)
        try:
            if pin:
                time.sleep(0.2)  # until the threads are there
                self.pin()
            answer = self.read(limit)
            if answer != "ready":
                raise Failed(answer)
            if pin:
                self.pin()
        except Failed:
            self.kill()
            raise
        self.signal(signal.SIGSTOP)

    def pin(self):
        """One thread to each processor, in the order of their birth: the kernel may put two on one."""
        places = cpus()
        for i, task in enumerate(sorted(map(int, os.listdir(f"/proc/{self.child.pid}/task")))):
            os.sched_setaffinity(task, {places[i % len(places)]})

    def ask(self, line, limit=300):
        self.signal(signal.SIGCONT)
        try:
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
            answer = self.read(limit)
        except BrokenPipeError:
            raise Failed(self.last_words()) from None
        finally:
            self.signal(signal.SIGSTOP)
        if answer.startswith("error:"):
            raise Failed(answer[6:].strip())
        return answer

    def timed(self, line, limit=300):
        """The milliseconds that the answer says, the share of the machine that others took meanwhile, and the processor
        time of this process in seconds."""
        begin, own, busy = time.monotonic(), self.seconds(), busy_seconds()
        ms = float(self.ask(line, limit))
        wall, own = time.monotonic() - begin, self.seconds() - own
        return ms, max(0.0, (busy_seconds() - busy - own) / (wall * len(cpus()))), own

    def seconds(self):
        with open(f"/proc/{self.child.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read(self, limit):
        end = time.monotonic() + limit
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"no answer within {limit} s")
            data = os.read(self.child.stdout.fileno(), 65536)
            if not data:
                raise Failed(self.last_words())
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode().strip()

    def last_words(self):
        try:
            status = f"ended with status {self.child.wait(5)}"
        except subprocess.TimeoutExpired:
            status = "closed its output"
        with open(self.log, errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
        return f"{status}: {lines[-1][:300]}" if lines else status

    def signal(self, number):
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        alive.discard(self)
        self.signal(signal.SIGKILL)
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            pipe.close()
