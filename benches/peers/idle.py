"""Memory of a connection that stays open and has nothing to say.

In: servers. Out: kilobytes. Never: counts what the kernel keeps for a socket.
"""

import resource
import socket
import time
from pathlib import Path

import clients
import load
from process import Tree
from report import HEAD, judged, one_line

CONNECTIONS = 4000
# Requests before, after which a server has all that it needs anyway.
WARMING = 2000
# Some servers give memory back a little later.
REST = 1.0
SERVERS = ["raw-hyper", "raw-hyper-mimalloc", "static-axum", "nginx", "cohost-c", "cohost-sample"]
REQUEST = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n"


def report(servers, directory, core):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lines = [f"### Memory of an idle connection (user space; {CONNECTIONS:,} of them, each after one request)", ""]
    lines += ["| server | KB each |", "|---|---|"]
    found = {}
    for server in servers:
        if server.name not in SERVERS:
            continue
        try:
            found[server.name] = of_server(server, directory, core)
        except (OSError, clients.Wrong) as wrong:
            lines.append(f"| {server.name} | not measured: {one_line(wrong)} |")
            continue
        lines.append(f"| {server.name}: {server.about} | {found[server.name]:.1f} |")
    if "cohost-c" in found:
        kb = found["cohost-c"]
        row = f"| P9 | an idle connection that stays open, user space | {kb:.1f} KB | ≤ 8 KB | ≤ 1 KB | {judged(kb, 8, 1)} |"
        lines += ["", HEAD + row]
    return "\n".join(lines) + "\n"


def of_server(server, directory, core):
    tree = Tree(server.commands, core, Path(directory, f"{server.name}.log"))
    connections = []
    try:
        wrong = load.answers(server, load.WORKLOADS[0], time.monotonic() + 30)
        if wrong:
            raise clients.Wrong(f"{wrong}; {tree.last_words()}")
        connections.append(opened(server))
        for _ in range(WARMING):
            clients.exchange(connections[0], REQUEST, load.HELLO)
        before = memory(tree)
        for _ in range(CONNECTIONS):
            connections.append(opened(server))
            clients.exchange(connections[-1], REQUEST, load.HELLO)
        time.sleep(REST)
        return (memory(tree) - before) / CONNECTIONS
    finally:
        for connection in connections:
            connection.close()
        tree.end()


def opened(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def memory(tree):
    """Kilobytes that its processes have in memory."""
    lines = [line for pid in tree.pids() for line in Path("/proc", str(pid), "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
