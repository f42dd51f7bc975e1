"""What is compared, and how each is configured.

In: what was built. Out: commands to run and the port to ask. Never: a difference between peers that is not on purpose:
one core, no access log, TCP in front, connections that stay open.
"""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import load

ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")

# Features of the front, each as it is when it has nothing to object to.
FRONT = {
    "ip": ("with a list of addresses", '[site.ip]\nallow = ["127.0.0.0/8"]'),
    "headers": ("with the fields of answers that make pages safer", "[site.headers]\nsecurity = true"),
    "filter": ("with the filter's IIS preset", '[site.filter]\npreset = "iis"'),
    "limit": ("with a limit of requests by client", '[[site.limit]]\nrate = "1000000/s"'),
    "rewrite": ("with a rewrite rule that does not match", '[[site.rewrite]]\nmatch = "^old/(.*)"\nrewrite = "/new/{{1}}"'),
    "compression": ("with compression, of an answer too small for it", "[site.compression]"),
    "static": ("with files first, none of that name", '[site.static]\nroot = "{files}"'),
}


@dataclass
class Server:
    """One row of the tables."""

    name: str
    commands: list
    port: int
    about: str
    tls: bool = False

    def url(self, path):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"


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
            self.nginx("nginx-tls", "the same over TLS, with OpenSSL", self.answers(), tls=True),
        ]
        if "cohost" in programs:
            servers += [
                self.library("cohost-c", "in process, benches/peers/plaintext.c", self.built.c_handler),
                self.library("cohost-c-example", "in process, examples/c/hello.c", self.built.c_example),
                self.library("cohost-c-tls", "in process, benches/peers/plaintext.c", self.built.c_handler, tls=True),
                self.files_served("cohost-files", "files, no application"),
                self.files_served("cohost-files-tls", "the same over TLS, with rustls", tls=True),
                *(self.behind(feature, table) for feature, table in FRONT.items()),
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

    def library(self, name, about, library, model="inprocess", tls=False):
        return self.cohost(name, about, f'library = "{library}"\nhosting_model = "{model}"', tls=tls)

    def files_served(self, name, about, tls=False):
        return self.cohost(name, about, f'static = {{ root = "{self.files()}" }}', tls=tls)

    def behind(self, feature, table):
        """The C handler behind one feature of the front, which finds nothing to do."""
        library = f'library = "{self.built.c_handler}"'
        return self.cohost(f"cohost-c-{feature}", table[0], library, table[1].format(files=self.files()))

    def command(self, name, about, listen):
        where = {"port": "127.0.0.1:{port}", "socket": "unix:{socket}"}[listen]
        program = self.built.programs["static-axum"]
        return self.cohost(name, about, f'command = ["{program}", "{where}"]\nlisten = "{listen}"')

    def cohost(self, name, about, application, front="", tls=False):
        port = free_port()
        place = self.place(name)
        if tls:
            front += f'[site.tls]\ncertificate = "{self.certificate()}"\nkey = "{self.certificate()}"\n'
        (place / "cohost.toml").write_text(
            f"""[log]
level = "warn"
access = false

[[site]]
name = "bench"
bindings = ["{"https" if tls else "http"}://127.0.0.1:{port}"]

{front}
[[site.application]]
{application}
{"" if "static" in application else "preload = true"}
"""
        )
        command = [self.built.programs["cohost"], "run", "--no-supervisor", place / "cohost.toml"]
        return Server(name, [command], port, about, tls)

    # What several of them are given

    def files(self):
        """A directory with files to serve."""
        root = self.directory / "files"
        if not root.exists():
            (root / "bytes").mkdir(parents=True)
            for size in (load.KB, load.KB64, load.MB):
                (root / "bytes" / str(size)).write_bytes(b"x" * size)
        return root

    def certificate(self):
        """A file with a certificate of its own making, and its key: P-256, as most have."""
        file = self.directory / "certificate.pem"
        if not file.exists():
            made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
            subprocess.run([*made, "-keyout", file, "-out", f"{file}.certificate"], check=True, capture_output=True)
            with open(file, "a") as both:
                both.write(Path(f"{file}.certificate").read_text())
        return file

    # nginx

    def answers(self):
        """What stands for an application: directives that answer alike."""
        return f"""
        location = /plaintext {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, World!"; }}
        location /bytes/ {{ root {self.files()}; default_type application/octet-stream; }}
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

    def nginx(self, name, about, locations, outside="", tls=False):
        port = free_port()
        certificate = self.certificate() if tls else ""
        secure = f"ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols TLSv1.2 TLSv1.3;"
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
        listen 127.0.0.1:{port} backlog=4096{" ssl http2" if tls else ""};
        {secure if tls else ""}{locations}
    }}
}}
"""
        )
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        return Server(name, [[nginx, "-p", place, "-c", configuration]], port, about, tls)

    def place(self, name):
        place = self.directory / name
        place.mkdir()
        return place


# All servers run at the same time, and none of them yet when their ports are chosen.
TAKEN = set()


def free_port():
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in TAKEN:
            TAKEN.add(port)
            return port
