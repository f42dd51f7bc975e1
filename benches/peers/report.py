"""What was measured, as Markdown: tables, ratios, targets.

In: samples. Out: text. Never: a ratio of two figures from different rounds.
"""

from dataclasses import dataclass
from statistics import median


@dataclass
class Sample:
    """One round of one server."""

    cpu_us: float
    rate: float


class Samples:
    """Everything that was measured: workload, server, round."""

    def __init__(self):
        self.rounds = {}
        self.failures = {}

    def add(self, workload, server, sample):
        self.rounds.setdefault((workload, server), []).append(sample)

    def fail(self, workload, server, why):
        self.failures[workload, server] = why

    def of(self, workload, server):
        return self.rounds.get((workload, server), [])

    def ratios(self, a, b):
        """CPU time of `a` over that of `b`, round by round; each is a workload and a server."""
        return [x.cpu_us / y.cpu_us for x, y in zip(self.of(*a), self.of(*b))]


def spread(values, digits=2):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def one_line(text, most=300):
    """Fit for a cell of a table."""
    return " ".join(str(text).replace("|", "/").split())[:most]


def table(workload, samples, about):
    lines = [
        f"### {workload.name}: {workload.about}",
        "",
        f"| server | CPU µs a request | ÷ {workload.baseline} | requests/s |",
        "|---|---|---|---|",
    ]
    for server in workload.servers:
        rounds = samples.of(workload.name, server)
        if not rounds:
            why = samples.failures.get((workload.name, server), "not there")
            lines.append(f"| {server} | not measured: {one_line(why)} | | |")
            continue
        ratios = samples.ratios((workload.name, server), (workload.name, workload.baseline))
        cpu = spread([sample.cpu_us for sample in rounds])
        rate = f"{median(sample.rate for sample in rounds):,.0f}"
        lines.append(f"| {server}: {about.get(server, '')} | {cpu} | {spread(ratios) if ratios else ''} | {rate} |")
    return "\n".join(lines) + "\n"


@dataclass
class Target:
    """A ratio that is aimed for, or one that must not be exceeded."""

    id: str
    about: str
    of: tuple
    to: list  # the best of these
    must: float
    aim: float

    def values(self, samples):
        bases = [base for base in self.to if samples.of(*base)]
        if not bases or not samples.of(*self.of):
            return []
        best = min(bases, key=lambda base: median(sample.cpu_us for sample in samples.of(*base)))
        return samples.ratios(self.of, best)


def get(server):
    return ("get", server)


TARGETS = [
    Target("P2", "in process, C handler ÷ nginx `return`", get("cohost-c"), [get("nginx")], 1.08, 1.00),
    Target("P3", "in process, sample-app ÷ static axum", get("cohost-sample"), [get("static-axum")], 1.15, 1.05),
    Target(
        "P4", "the same with 12 fields", ("browser", "cohost-sample"), [("browser", "static-axum")], 1.20, 1.08
    ),
    Target(
        "P5",
        "out of process, sample-app ÷ the better nginx proxy + static axum",
        get("cohost-sample-process"),
        [get("nginx-proxy-tcp"), get("nginx-proxy-unix")],
        1.05,
        0.75,
    ),
    Target(
        "P6 port",
        "command ÷ nginx proxy to the same",
        get("cohost-command-tcp"),
        [get("nginx-proxy-tcp")],
        1.10,
        0.95,
    ),
    Target(
        "P6 socket",
        "command ÷ nginx proxy to the same",
        get("cohost-command-unix"),
        [get("nginx-proxy-unix")],
        1.10,
        0.95,
    ),
    Target("P8", "completion from a thread ÷ at once", ("thread", "cohost-c"), [get("cohost-c")], 1.5, 1.15),
    *(
        Target(f"P10 {name}", f"{about} ÷ nginx", (name, server), [(name, "nginx")], 1.1, 1.0)
        for name, about, server in [
            ("64kb", "sample-app, 64 KB", "cohost-sample"),
            ("1mb", "sample-app, 1 MB", "cohost-sample"),
            ("post", "sample-app, 1 MB echoed", "cohost-sample"),
            ("connect", "C handler, new connections", "cohost-c"),
            ("pipeline", "C handler, 16 pipelined", "cohost-c"),
        ]
    ),
    Target("P11 1 KB", "a file ÷ nginx", ("file1kb", "cohost-files"), [("file1kb", "nginx")], 1.2, 1.0),
    Target("P11 1 MB", "a file ÷ nginx `sendfile`", ("file1mb", "cohost-files"), [("file1mb", "nginx")], 1.2, 1.0),
    *(
        Target(f"P12 {name}", f"{about} ÷ nginx", (name, "cohost-c-tls"), [(name, "nginx-tls")], 1.1, 1.0)
        for name, about in [
            ("h2", "requests over HTTP/2 and TLS"),
            ("handshake", "full handshakes"),
            ("resumed", "resumed handshakes"),
        ]
    ),
]

HEAD = "| target | figure | value | must | aim | |\n|---|---|---|---|---|---|\n"


def targets(samples):
    lines = []
    for target in TARGETS:
        values = target.values(samples)
        value = spread(values) if values else "not measured"
        result = judged(median(values), target.must, target.aim) if values else ""
        row = [target.id, target.about, value, f"≤ {target.must:.2f}", f"≤ {target.aim:.2f}", result]
        lines.append("| " + " | ".join(row) + " |")
    return HEAD + "\n".join(lines) + "\n"


def judged(value, must, aim):
    if value <= aim:
        return "aim met"
    return "met, aim missed" if value <= must else "**missed**"
