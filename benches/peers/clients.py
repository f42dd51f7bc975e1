"""The programs that ask: wrk, h2load, and openssl for handshakes alone.

In: a server and what to ask it for. Out: how many requests were answered. Never: counts a round in which an answer was
wrong.
"""

import re
import subprocess


class Wrong(Exception):
    """A round that does not count."""


def ask(server, workload, script, core, seconds):
    """Asks for so many seconds; how many requests were answered."""
    return {"wrk": wrk, "h2load": h2load, "s_time": s_time}[workload.client](server, workload, script, core, seconds)


def exchange(connection, request, expected):
    """One request on a connection that stays open, up to the end of its answer."""
    connection.sendall(request)
    answer = b""
    while not answer.endswith(expected):
        piece = connection.recv(65536)
        if not piece:
            raise Wrong("the connection ended")
        answer += piece


def wrk(server, workload, script, core, seconds):
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "-s", str(script)]
    said = run([*command, server.url(workload.path)], core, seconds)
    requests = number(r"(\d+) requests in", said)
    for trouble in (r"Non-2xx or 3xx responses: \d+", r"Socket errors: .*"):
        found = re.search(trouble, said)
        # What is still under way at the end of a round may be cut off, in either direction.
        if found and sum(map(int, re.findall(r"\d+", found[0].partition(":")[2]))) > workload.connections:
            raise Wrong(found[0])
    return requests


def h2load(server, workload, _, core, seconds):
    """Over HTTP/2, with so many streams at a time on each connection."""
    command = ["h2load", "-t1", f"-c{workload.connections}", f"-m{workload.streams}", f"-D{seconds}"]
    said = run([*command, server.url(workload.path)], core, seconds)
    protocol = re.search(r"Application protocol: (\S+)", said)
    if server.tls and (not protocol or protocol[1] != "h2"):
        raise Wrong(f"h2load: {said.strip()[-300:]}")
    failed = number(r"(\d+) failed", said, none=True)
    if failed or number(r"(\d+) 2xx", said) == 0:
        raise Wrong(f"h2load: {failed} failed")
    return number(r"(\d+) 2xx", said)


def s_time(server, workload, _, core, seconds):
    """A handshake and a request, one connection after the other; with the session of the one before if it may be."""
    kind = "-reuse" if workload.resumed else "-new"
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", kind, "-time", str(seconds)]
    said = run([*command, "-www", workload.path], core, seconds)
    return number(r"(\d+) connections in \d+ real seconds", said)


def run(command, core, seconds):
    command = ["taskset", "-c", str(core), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise Wrong(f"{command[3]}: {said.strip()[-300:]}")
    return said


def number(pattern, said, none=False):
    found = re.search(pattern, said)
    if not found or (int(found[1]) == 0 and not none):
        raise Wrong(said.strip()[-300:])
    return int(found[1])
