#!/usr/bin/env python3
"""The memory of a gateway while many clients put and get large objects at a time. ASHLAR names the binary. Prints the peak of
the gateway's resident memory, and fails beyond the bound. Clients and bytes: s3-memory.py [CLIENTS [MIB_EACH]]."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ASHLAR = os.environ["ASHLAR"]
CLIENTS, MIB = (int(argument) for argument in (sys.argv[1:] + ["200", "16"][len(sys.argv) - 1:])[:2])
BOUND_MIB = 256
PIECE = bytes(1 << 20)
CONNECTIONS = 300


def wait_for(process, pattern):
    for line in process.stdout:
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"the server ended without {pattern}")


def move(host, target, method, bytes_):
    """One request whose body, or whose answer, has so many bytes."""
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=300) as connection:
        length = bytes_ if method == "PUT" else 0
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())
        while length > 0:
            connection.sendall(PIECE[:length])
            length -= min(length, len(PIECE))
        head, received = b"", 0
        while piece := connection.recv(1 << 18):
            if b"\r\n\r\n" not in head:
                head += piece
                received = len(head.partition(b"\r\n\r\n")[2])
            else:
                received += len(piece)
        assert head.startswith(b"HTTP/1.1 200"), head[:500]
        assert method == "PUT" or received == bytes_, f"{received} of {bytes_} bytes came"


def peak(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) / 1024


with tempfile.TemporaryDirectory() as directory:
    cluster = subprocess.Popen([ASHLAR, "quickstart", "--dir", f"{directory}/c", "--s3", "127.0.0.1:0", "--ports", "27000"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    gateway = None
    try:
        wait_for(cluster, "ashlar is ready")
        threading.Thread(target=cluster.stdout.read, daemon=True).start()
        environment = dict(os.environ, ASHLAR_CONFIG=f"{directory}/c/client.toml")
        for line in open(f"{directory}/c/s3.env"):
            found = re.match(r"export (\w+)=(.*)", line)
            if found:
                environment[found[1]] = found[2]
        with open(f"{directory}/c/node-s3.toml") as file:
            text = re.sub(r"(?m)^listen = .*$", f'listen = "127.0.0.1:0"\nconnections_per_address = {CONNECTIONS + CLIENTS}', file.read())
        with open(f"{directory}/c/node-s3-alone.toml", "w") as file:
            file.write(text)
        gateway = subprocess.Popen([ASHLAR, "s3", "-c", f"{directory}/c/node-s3-alone.toml"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        host = wait_for(gateway, r"(127\.0\.0\.1:\d+)")[1]
        environment["AWS_ENDPOINT_URL"] = f"http://{host}"
        run = lambda *arguments: subprocess.run([ASHLAR, *arguments], env=environment, check=True, capture_output=True, text=True).stdout
        run("object", "mb", "memory")
        print(f"idle: {peak(gateway.pid):.0f} MiB")
        for method in ["PUT", "GET"]:
            targets = [run("object", "presign", "--method", method, f"memory/{at}").strip().removeprefix(f"http://{host}") for at in range(CLIENTS)]
            failed, begun = [], time.monotonic()

            def one(target):
                try:
                    move(host, target, method, MIB << 20)
                except Exception as error:
                    failed.append(error)

            threads = [threading.Thread(target=one, args=[target]) for target in targets]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failed, f"{len(failed)} of {CLIENTS} failed: {failed[0]}"
            seconds = time.monotonic() - begun
            print(f"{method}: {CLIENTS} clients, {MIB} MiB each, {CLIENTS * MIB / seconds:.0f} MiB/s, peak so far {peak(gateway.pid):.0f} MiB", flush=True)
        assert peak(gateway.pid) < BOUND_MIB, f"{peak(gateway.pid):.0f} MiB is more than {BOUND_MIB}"
    finally:
        for process in [gateway, cluster]:
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
