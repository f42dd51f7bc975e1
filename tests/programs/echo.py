"""A web server that knows nothing of its host. Answers with what it was asked, and how it was started.

    python3 echo.py [--port PORT | --socket PATH] [--unhealthy N]

Listens on $PORT if it is told neither. `/health` answers 503 N times, and 200 from then on; `/hang` never answers.
"""

import json
import os
import socket
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


healths = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.path.endswith("/health"):
            healths.append(self.headers.items())
            self.send(503 if len(healths) <= int(option("--unhealthy", 0)) else 200, {})
        elif self.path.endswith("/hang"):
            print("hanging", flush=True)
            time.sleep(3600)
        else:
            self.send(200, self.facts())

    do_GET = do_POST = answer

    def facts(self):
        return {
            "method": self.command,
            "target": self.path,
            "fields": self.headers.items(),
            "healths": healths,
            "arguments": sys.argv[1:],
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "pid": os.getpid(),
        }

    def send(self, status, facts):
        body = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


path = option("--socket", None)
if path:
    Server.address_family = socket.AF_UNIX
    Server.allow_reuse_address = False
place = path or ("127.0.0.1", int(option("--port", os.environ.get("PORT"))))
Server(place, Handler).serve_forever()
