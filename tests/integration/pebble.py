# tests/integration/pebble.py - Pebble, a real ACME authority for tests, and a name server for it.
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import urllib.request

from harness import free_port, wait_for

FOUND = shutil.which("pebble")


class Names:
    """A name server over UDP: every name ending in .test is 127.0.0.1, no other name is."""

    def __init__(self):
        self.port = free_port()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                ask, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            end, labels = 12, []
            while ask[end]:
                labels.append(ask[end + 1 : end + 1 + ask[end]].lower())
                end += 1 + ask[end]
            question = ask[12 : end + 5]
            known = bool(labels) and labels[-1] == b"test"
            wanted = known and struct.unpack("!H", ask[end + 1 : end + 3])[0] == 1  # A
            head = ask[:2] + struct.pack("!HHHHH", 0x8580 if known else 0x8583, 1, wanted, 0, 0)
            record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x7f\x00\x00\x01" if wanted else b""
            try:
                self.socket.sendto(head + question + record, peer)
            except OSError:
                return

    def close(self):
        self.socket.close()


class Pebble:
    """One authority. http and tls are the ports where it looks for answers to its challenges."""

    def __init__(self, folder, http=None, tls=None, life=None, nonces=0, eab=None):
        self.folder = str(folder)
        self.log_path = os.path.join(self.folder, "pebble.log")
        self.ca = os.path.join(self.folder, "pebble-tls.pem")
        self.port, self.manage = free_port(), free_port()
        self.names = Names()
        self.nonces = nonces
        key = os.path.join(self.folder, "pebble-tls.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "7000", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", self.ca], check=True, capture_output=True)
        conf = {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.manage}",
                "certificate": self.ca, "privateKey": key, "httpPort": http or free_port(),
                "tlsPort": tls or free_port(), "certificateValidityPeriod": life or 90 * 86400,
                "externalAccountBindingRequired": eab is not None, "externalAccountMACKeys": eab or {}}
        self.conf = os.path.join(self.folder, "pebble.json")
        with open(self.conf, "w", encoding="ascii") as f:
            json.dump({"pebble": conf}, f)
        self.process = None
        self.start()

    @property
    def directory(self):
        return f"https://127.0.0.1:{self.port}/dir"

    def start(self):
        env = dict(os.environ, PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT=str(self.nonces), PEBBLE_AUTHZREUSE="0")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [FOUND, "-config", self.conf, "-dnsserver", f"127.0.0.1:{self.names.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=self.folder)
        wait_for("Pebble listens", lambda: self.process.poll() is None and self.fetch("/roots/0"))

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        self.names.close()

    def fetch(self, target):
        c = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{self.manage}{target}", context=c, timeout=5) as a:
                return a.read().decode()
        except OSError:
            return None

    def root(self):
        """A file with the certificate that has signed everything of this authority's present run."""
        path = os.path.join(self.folder, "pebble-root.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(self.fetch("/roots/0"))
        return path

    def status(self, serial):
        """"Valid" or "Revoked" """
        return json.loads(self.fetch(f"/cert-status-by-serial/{serial:x}"))["Status"]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def issued(self):
        return len(re.findall("Issued certificate serial", self.log()))
