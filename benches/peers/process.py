"""Processes that are measured: started on one core, their CPU time read, ended by their numbers.

In: commands. Out: a tree of processes. Never: ends a process that was not started here.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Tree:
    """Some commands, with every process they start."""

    def __init__(self, commands, core, log):
        self.log = Path(log)
        self.roots = []
        with open(self.log, "wb") as out:
            for command in commands:
                pinned = ["taskset", "-c", str(core), *map(str, command)]
                root = subprocess.Popen(
                    pinned, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
                )
                self.roots.append(root)

    def ended(self):
        return any(root.poll() is not None for root in self.roots)

    def cpu_seconds(self):
        """User and system time of all its processes so far, those that have ended included."""
        return sum(ticks for _, ticks in self._processes()) * TICK

    def end(self, patience=5.0):
        """Asks the commands to end; makes those end that do not, with all they have started."""
        processes = self.pids()
        for root in self.roots:
            if root.poll() is None:
                root.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for root in self.roots:
            try:
                root.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                # Not the roots alone: an instance that lost its parent would go on for ever.
                for pid in {*processes, *self.pids()}:
                    kill(pid)
                root.wait()

    def pids(self):
        return [pid for pid, _ in self._processes()]

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-600:]

    def _processes(self):
        """Number and ticks of each process there is."""
        parents, ticks = {}, {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The name may hold spaces and parentheses; what follows it does not.
            fields = stat.rpartition(")")[2].split()
            pid = int(entry)
            parents[pid] = int(fields[1])
            # utime, stime, and those of children that were waited for.
            ticks[pid] = sum(map(int, fields[11:15]))
        ours = {root.pid for root in self.roots}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        return [(pid, ticks[pid]) for pid in ours if pid in ticks]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
