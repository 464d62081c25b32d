#!/usr/bin/env python3
"""A proxy for CONNECT, on a free port of 127.0.0.1 that it prints; ends when stdin ends.

usage: proxy.py LOG [STATUS]

Each request's head becomes a line in LOG, as JSON.  With STATUS it refuses them all with that.
"""
import json
import socket
import sys
import threading


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, log, status):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return
        head += byte
    log.write(json.dumps(head.decode("latin-1")) + "\n")
    log.flush()
    if status:
        client.sendall(f"HTTP/1.1 {status} no\r\nContent-Length: 0\r\n\r\n".encode())
        client.close()
        return
    host, _, port = head.split()[1].decode().rpartition(":")
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 Connection established\r\nRateLimit: \"proxy\";r=0;t=600\r\n\r\n")
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server)


def listen(listener, log, status):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, log, status), daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    with open(sys.argv[1], "a", encoding="utf-8") as log:
        status = sys.argv[2] if len(sys.argv) > 2 else None
        threading.Thread(target=listen, args=(listener, log, status), daemon=True).start()
        sys.stdin.read()


main()
