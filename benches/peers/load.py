"""What is asked of the servers, and the program that asks: wrk.

In: a server's port. Out: how many requests were answered, and in how long. Never: counts a round in which an answer
was wrong.
"""

import http.client
import re
import subprocess
import time
from dataclasses import dataclass, field

KB64 = 64 * 1024
MB = 1024 * 1024
HELLO = b"Hello, World!"

# What a browser sends besides `Host`: eleven fields more.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://www.shop.example/catalogue/lamps?page=2",
    "Cookie": "session=5f2b7c1e9a3d4f608b1c2d3e4f5a6b7c; theme=dark; seen=1718035200",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Priority": "u=0, i",
}
PROXIES = ["cohost-sample-process", "cohost-command-tcp", "cohost-command-unix", "nginx-proxy-tcp", "nginx-proxy-unix"]
STATIC = ["raw-hyper", "raw-hyper-mimalloc", "static-axum", "static-axum-mimalloc", "nginx"]
CARRIERS = ["static-axum", "static-axum-mimalloc", "nginx", "cohost-sample"]


@dataclass
class Workload:
    """One table: the same requests to several servers."""

    name: str
    about: str
    servers: list
    baseline: str
    path: str = "/plaintext"
    expected: bytes = HELLO
    fields: dict = field(default_factory=dict)
    method: str = "GET"
    body: int = 0
    pipelined: int = 1
    connections: int = 32

    def script(self):
        """What wrk is to do, in Lua."""
        lines = [f'wrk.method = "{self.method}"']
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in self.fields.items()]
        if self.body:
            lines.append(f'wrk.body = string.rep("x", {self.body})')
        if self.pipelined > 1:
            lines += [
                "local requests",
                f"init = function() requests = string.rep(wrk.format(), {self.pipelined}) end",
                "request = function() return requests end",
            ]
        return "\n".join(lines) + "\n"


WORKLOADS = [
    Workload(
        "get",
        "GET, 13 bytes, connections stay open",
        STATIC + ["cohost-c", "cohost-c-example", "cohost-sample"] + PROXIES,
        "raw-hyper",
    ),
    Workload(
        "browser",
        "the same with a browser's 12 fields",
        STATIC + ["cohost-c", "cohost-sample"],
        "raw-hyper",
        fields=BROWSER,
    ),
    Workload("thread", "GET, 13 bytes, answered by another thread", ["cohost-c"], "cohost-c", path="/thread"),
    Workload("64kb", "GET, 64 KB", CARRIERS, "nginx", path=f"/bytes/{KB64}", expected=b"x" * KB64),
    Workload("1mb", "GET, 1 MB", CARRIERS, "nginx", path=f"/bytes/{MB}", expected=b"x" * MB),
    Workload(
        "post", "POST, 1 MB, echoed", CARRIERS, "nginx", path="/echo", expected=b"x" * MB, method="POST", body=MB
    ),
    Workload(
        "connect",
        "GET, 13 bytes, a new connection each",
        STATIC + ["cohost-c", "cohost-sample"],
        "nginx",
        fields={"Connection": "close"},
    ),
    Workload(
        "pipeline", "GET, 13 bytes, 16 pipelined", STATIC + ["cohost-c", "cohost-sample"], "nginx", pipelined=16
    ),
]


def answers(server, workload, deadline):
    """Waits until the server answers as it should. Says what is wrong otherwise."""
    wrong = "no answer"
    while time.monotonic() < deadline:
        try:
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            client.request(workload.method, workload.path, b"x" * workload.body or None, workload.fields)
            answer = client.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            wrong = f"no answer: {error!r}"
            time.sleep(0.05)
            continue
        finally:
            client.close()
        if answer.status == 200 and (body == workload.expected or server.name == "cohost-c-example"):
            return None
        wrong = f"{answer.status} and {len(body)} bytes instead of 200 and {len(workload.expected)}"
        # Not ready yet is not wrong.
        if answer.status not in (502, 503, 504):
            return wrong
        time.sleep(0.05)
    return wrong


def wrk(server, workload, script, core, seconds):
    """Asks for so many seconds; how many requests were answered."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s"]
    command += ["-s", str(script), f"http://127.0.0.1:{server.port}{workload.path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    said = done.stdout + done.stderr
    requests = re.search(r"(\d+) requests in", said)
    if done.returncode != 0 or not requests or int(requests[1]) == 0:
        raise Wrong(f"wrk: {said.strip()[-300:]}")
    for trouble in (r"Non-2xx or 3xx responses: \d+", r"Socket errors: .*"):
        found = re.search(trouble, said)
        # What is still under way at the end of a round may be cut off, in either direction.
        if found and sum(map(int, re.findall(r"\d+", found[0].partition(":")[2]))) > workload.connections:
            raise Wrong(found[0])
    return int(requests[1])


class Wrong(Exception):
    """A round that does not count."""
