"""What is compared, and how each is configured.

In: what was built. Out: commands to run and the port to ask. Never: a difference between peers that is not on purpose:
one core, no access log, TCP in front, connections that stay open.
"""

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import load

ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")


@dataclass
class Server:
    """One row of the tables."""

    name: str
    commands: list
    port: int
    about: str


@dataclass
class Built:
    """Files that the comparison needs; those of a part that does not build are missing."""

    programs: dict  # name -> path
    c_handler: Path
    c_example: Path
    sample: Path | None


class Yard:
    """Makes servers, in a directory of their own."""

    def __init__(self, built, directory):
        self.built = built
        self.directory = Path(directory)

    def all(self):
        """Every server that can be made of what is there, in the order of the tables."""
        programs = self.built.programs
        servers = [
            self.static("raw-hyper", "hyper with a real host's set-up"),
            self.static("raw-hyper-mimalloc", "the same with the allocator that cohost has"),
            self.static("static-axum", "the sample application's routes, served by axum"),
            self.static("static-axum-mimalloc", "the same with the allocator that cohost has"),
            self.nginx("nginx", "one worker: return, files, the echo module", self.answers()),
        ]
        if "cohost" in programs:
            servers += [
                self.library("cohost-c", "in process, benches/peers/plaintext.c", self.built.c_handler),
                self.library("cohost-c-example", "in process, examples/c/hello.c", self.built.c_example),
            ]
            if self.built.sample:
                sample = self.built.sample
                servers += [
                    self.library("cohost-sample", "in process, sample-app", sample),
                    self.library("cohost-sample-process", "out of process, sample-app", sample, "outofprocess"),
                ]
            servers += [
                self.command("cohost-command-tcp", "out of process, static-axum on a port", "port"),
                self.command("cohost-command-unix", "out of process, static-axum on a Unix socket", "socket"),
            ]
        servers += [
            self.proxy("nginx-proxy-tcp", "proxy_pass to static-axum on a port", unix=False),
            self.proxy("nginx-proxy-unix", "proxy_pass to static-axum on a Unix socket", unix=True),
        ]
        return servers

    def static(self, name, about):
        port = free_port()
        return Server(name, [[self.built.programs[name], f"127.0.0.1:{port}"]], port, about)

    # cohost

    def library(self, name, about, library, model="inprocess"):
        return self.cohost(name, about, f'library = "{library}"\nhosting_model = "{model}"')

    def command(self, name, about, listen):
        where = {"port": "127.0.0.1:{port}", "socket": "unix:{socket}"}[listen]
        program = self.built.programs["static-axum"]
        return self.cohost(name, about, f'command = ["{program}", "{where}"]\nlisten = "{listen}"')

    def cohost(self, name, about, application):
        port = free_port()
        place = self.place(name)
        (place / "cohost.toml").write_text(
            f"""[log]
level = "warn"
access = false

[[site]]
name = "bench"
bindings = ["http://127.0.0.1:{port}"]

[[site.application]]
{application}
preload = true
"""
        )
        return Server(name, [[self.built.programs["cohost"], "run", "--no-supervisor", place / "cohost.toml"]], port, about)

    # nginx

    def answers(self):
        """What stands for an application: directives that answer alike."""
        files = self.place("files") / "bytes"
        files.mkdir()
        for size in (load.KB64, load.MB):
            (files / str(size)).write_bytes(b"x" * size)
        return f"""
        location = /plaintext {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, World!"; }}
        location /bytes/ {{ root {files.parent}; default_type application/octet-stream; }}
        location = /echo {{
            client_max_body_size 8m;
            client_body_buffer_size 2m;
            {"echo_read_request_body; echo_request_body;" if ECHO_MODULE.exists() else "return 501;"}
        }}"""

    def proxy(self, name, about, unix):
        place = self.place(f"{name}-upstream")
        address = f"unix:{place}/app.sock" if unix else f"127.0.0.1:{free_port()}"
        upstream = f"upstream app {{ server {address}; keepalive 128; keepalive_requests 1000000000; }}"
        location = """
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }"""
        server = self.nginx(name, about, location, upstream)
        server.commands.insert(0, [self.built.programs["static-axum"], address])
        return server

    def nginx(self, name, about, locations, outside=""):
        port = free_port()
        place = self.place(name)
        configuration = place / "nginx.conf"
        configuration.write_text(
            f"""{f"load_module {ECHO_MODULE};" if ECHO_MODULE.exists() else ""}
daemon off;
worker_processes 1;
{"user root;" if os.geteuid() == 0 else ""}
pid {place}/pid;
error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100 inactive=1h;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {outside}
    server {{
        listen 127.0.0.1:{port} backlog=4096;{locations}
    }}
}}
"""
        )
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        return Server(name, [[nginx, "-p", place, "-c", configuration]], port, about)

    def place(self, name):
        place = self.directory / name
        place.mkdir()
        return place


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
