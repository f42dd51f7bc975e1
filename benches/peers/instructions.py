"""User instructions of one request, counted by valgrind.

In: programs. Out: instructions. Never: waits for time; the figures are the same however busy the machine is.
"""

import socket
import subprocess
import time
from pathlib import Path

import clients
import load
from process import Tree
from report import HEAD, judged, one_line

# Requests that warm a server up, and requests that count; a case of the seam runs this often, and both together.
FEW, MORE = 1000, 2000
VALGRIND = ["valgrind", "--tool=callgrind", "--trace-children=yes"]
PATIENCE = 60.0


def of_server(server, workloads, directory, core):
    """Instructions of one request of each workload, on a connection that stays open."""
    out = clean(directory)
    commands = [[*VALGRIND, f"--callgrind-out-file={out}/%p", *command] for command in server.commands]
    tree = Tree(commands, core, Path(directory, "valgrind.log"))
    try:
        return [of_workload(server, workload, tree, out) for workload in workloads]
    finally:
        # At once: valgrind may fall over a signal that a program handles, and what counts is written already.
        tree.end(0)


def of_workload(server, workload, tree, out):
    wrong = load.answers(server, workload, time.monotonic() + PATIENCE)
    if wrong:
        raise clients.Wrong(f"{wrong}; {tree.last_words()}")
    ask(server, workload, FEW)
    dump(tree, out)
    ask(server, workload, MORE)
    return dump(tree, out) / MORE


def dump(tree, out):
    """What all processes have executed since the last time."""
    clean(out.parent)
    for pid in tree.pids():
        subprocess.run(["vgdb", f"--pid={pid}", "dump"], check=True, capture_output=True, timeout=PATIENCE)
    executed = total(out)
    if executed == 0:
        raise clients.Wrong("valgrind counted nothing")
    return executed


def ask(server, workload, times):
    """Sends requests one after the other."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in workload.fields.items())
    request = f"{workload.method} {workload.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{fields}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        for _ in range(times):
            clients.exchange(client, request, workload.expected)


def of_seam(bench, case, directory):
    """Instructions of one dispatch."""
    few, many = (count_seam(bench, case, times, directory) for times in (FEW, FEW + MORE))
    return (many - few) / MORE


def count_seam(bench, case, times, directory):
    out = clean(directory)
    command = [*VALGRIND, f"--callgrind-out-file={out}/%p", bench, "--count", case, str(times)]
    subprocess.run(command, check=True, capture_output=True, timeout=10 * PATIENCE)
    return total(out)


def clean(directory):
    out = Path(directory, "callgrind")
    out.mkdir(exist_ok=True)
    for left in out.iterdir():
        left.unlink()
    return out


def total(out):
    lines = [line for file in out.iterdir() for line in file.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("totals:"))


# Not those out of process: under valgrind the host is not the program that it starts instances with.
SERVERS = [
    "raw-hyper", "raw-hyper-mimalloc", "static-axum", "static-axum-mimalloc", "nginx", "cohost-sample",
    *load.FRONTS,
]
CASES = [
    f"seam_{kind}_get_{fields}" for fields in ("1_field", "12_fields") for kind in ("static", "c", "axum_static", "sdk_axum")
]


def report(servers, bench, directory, core):
    """Counts everything, and writes it down."""
    found = {}
    lines = ["### Instructions of a request (user space, one connection)", ""]
    lines += ["| server | Host only | beyond raw-hyper | a browser's 12 fields |", "|---|---|---|---|"]
    workloads = {workload.name: workload for workload in load.WORKLOADS}
    for server in servers:
        if server.name not in SERVERS:
            continue
        try:
            get, browser = of_server(server, [workloads["get"], workloads["browser"]], directory, core)
        except clients.Wrong as wrong:
            lines.append(f"| {server.name} | not measured: {one_line(wrong)} | | |")
            continue
        found[server.name] = get
        beyond = f"{get - found['raw-hyper']:+,.0f}" if "raw-hyper" in found else ""
        lines.append(f"| {server.name}: {server.about} | {get:,.0f} | {beyond} | {browser:,.0f} |")
    lines += ["", "### Instructions of a dispatch (the seam alone, making the request included)", ""]
    lines += ["| case | instructions | beyond its baseline |", "|---|---|---|"]
    for case in CASES if bench else []:
        found[case] = of_seam(bench, case, directory)
        base = found.get(case.replace("sdk_axum", "axum_static").replace("seam_c_", "seam_static_"))
        beyond = f"{found[case] - base:+,.0f}" if base != found[case] else ""
        lines.append(f"| {case} | {found[case]:,.0f} | {beyond} |")
    return "\n".join(lines) + "\n\n" + HEAD + "\n".join(targets(found)) + "\n"


def targets(found):
    rows = [
        ("P1", "in process, C handler, instructions beyond raw hyper", "cohost-c", "raw-hyper", 2500, 1000),
        ("P7", "the seam alone, C handler, 12 fields", "seam_c_get_12_fields", "seam_static_get_12_fields", 1200, 400),
    ]
    for name, about, of, to, must, aim in rows:
        if of in found and to in found:
            value = found[of] - found[to]
            shown, result = f"{value:+,.0f}", judged(value, must, aim)
        else:
            shown, result = "not measured", ""
        yield f"| {name} | {about} | {shown} | ≤ +{must:,} | ≤ +{aim:,} | {result} |"
