"""User instructions of one request, counted by valgrind: the difference of a run with many and a run with few.

In: programs. Out: instructions. Never: waits for time; the figures are the same however busy the machine is.
"""

import socket
import subprocess
import time
from pathlib import Path

import load
from process import Tree
from report import HEAD, judged

FEW, MANY = 1000, 3000
VALGRIND = ["valgrind", "--tool=callgrind", "--trace-children=yes"]
PATIENCE = 60.0


def of_server(server, workload, directory, core):
    """Instructions of one request on a connection that stays open."""
    few, many = (count_server(server, workload, times, directory, core) for times in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def count_server(server, workload, times, directory, core):
    out = clean(directory)
    commands = [[*VALGRIND, f"--callgrind-out-file={out}/%p", *command] for command in server.commands]
    tree = Tree(commands, core, Path(directory, "valgrind.log"))
    try:
        wrong = load.answers(server, workload, time.monotonic() + PATIENCE)
        if wrong:
            raise load.Wrong(f"{wrong}; {tree.last_words()}")
        ask(server, workload, times)
    finally:
        tree.end(PATIENCE)
    return total(out)


def ask(server, workload, times):
    """Sends requests one after the other."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in workload.fields.items())
    request = f"{workload.method} {workload.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{fields}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        for _ in range(times):
            client.sendall(request)
            answer = b""
            while not answer.endswith(workload.expected):
                piece = client.recv(65536)
                if not piece:
                    raise load.Wrong("the connection ended")
                answer += piece


def of_seam(bench, case, directory):
    """Instructions of one dispatch."""
    few, many = (count_seam(bench, case, times, directory) for times in (FEW, MANY))
    return (many - few) / (MANY - FEW)


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
    # A process that threads were killed in may have several parts.
    return sum(int(line.split()[1]) for line in lines if line.startswith("totals:"))


SERVERS = ["raw-hyper", "raw-hyper-mimalloc", "static-axum", "static-axum-mimalloc", "cohost-c", "cohost-sample"]
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
            get, browser = (
                of_server(server, workloads[name], directory, core) for name in ("get", "browser")
            )
        except load.Wrong as wrong:
            lines.append(f"| {server.name} | not measured: {wrong} | | |")
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
