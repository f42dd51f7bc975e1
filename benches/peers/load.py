"""What is asked of the servers, and whether they answer as they should.

In: a server. Out: the tables there are, and what is wrong with an answer. Never: measures.
"""

import http.client
import ssl
import time
from dataclasses import dataclass, field

KB = 1024
KB64 = 64 * KB
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
FILES = ["nginx", "cohost-files"]
FRONTS = [
    "cohost-c", "cohost-c-ip", "cohost-c-headers", "cohost-c-filter", "cohost-c-limit", "cohost-c-rewrite",
    "cohost-c-compression", "cohost-c-static",
]
TLS = ["nginx-tls", "cohost-c-tls"]


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
    client: str = "wrk"  # see clients.py
    streams: int = 10  # at a time on a connection, of h2load
    resumed: bool = False  # of s_time

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
    Workload("file1kb", "a file of 1 KB", FILES, "nginx", path=f"/bytes/{KB}", expected=b"x" * KB),
    Workload("file1mb", "a file of 1 MB", FILES, "nginx", path=f"/bytes/{MB}", expected=b"x" * MB),
    Workload("h2", "GET, 13 bytes, HTTP/2 over TLS 1.3, 10 at a time on each connection", TLS, "nginx-tls", client="h2load"),
    Workload("tls", "GET, 13 bytes, HTTP/1.1 over TLS 1.3, connections stay open", TLS, "nginx-tls"),
    Workload("tls1mb", "a file of 1 MB, HTTP/1.1 over TLS 1.3", ["nginx-tls", "cohost-files-tls"], "nginx-tls", path=f"/bytes/{MB}", expected=b"x" * MB),
    Workload("handshake", "a TLS 1.3 handshake and a GET each", TLS, "nginx-tls", client="s_time"),
    Workload(
        "resumed", "the same with the session of the one before", TLS, "nginx-tls", client="s_time", resumed=True
    ),
    Workload("features", "GET, 13 bytes, with features of the front before it", FRONTS, "cohost-c", fields=BROWSER),
]


def answers(server, workload, deadline):
    """Waits until the server answers as it should. Says what is wrong otherwise."""
    wrong = "no answer"
    while time.monotonic() < deadline:
        try:
            client = connection(server)
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


def connection(server):
    if not server.tls:
        return http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    # Made for this run, by the run itself.
    trusting = ssl._create_unverified_context()
    return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=trusting)
