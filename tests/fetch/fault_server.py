#!/usr/bin/env python3
"""A web server that serves one file, wrongly.

usage: fault_server.py FILE LOG FAULT[:ARGUMENT]...

Binds a free port of 127.0.0.1 and prints it as the first line; ends when stdin ends.  Every request
becomes a line of JSON in LOG: its number, path, range, headers and the body bytes sent.  FAULTS are
the methods fault_* below; each is asked in turn whether it takes the request over.  ARGUMENT says how
often, where or how.
"""
import http.server
import json
import os
import re
import socket
import struct
import sys
import threading
import time

lock = threading.Lock()
n_requests = 0
counts = {}
file_bytes = b""
log = None
faults = []


def times(name, limit):
    """Whether this is one of the first `limit` times that `name` is asked for."""
    with lock:
        counts[name] = counts.get(name, 0) + 1
        return counts[name] <= limit


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    etag = '"one"'
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body=b"", length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.send(body)

    def send(self, body):
        self.wfile.write(body)
        self.n_sent += len(body)

    def die(self):
        """Closes with a reset, not with an end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def part(self):
        """first, last: what the Range header asks for."""
        size = len(file_bytes)
        want = self.headers.get("Range")
        if not want:
            return 0, size - 1
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", want).groups()
        if not first:
            return max(0, size - int(last)), size - 1
        return int(first), min(int(last or size - 1), size - 1)

    def fine_headers(self, first, last):
        return {
            "Content-Range": f"bytes {first}-{last}/{len(file_bytes)}",
            "ETag": self.etag,
            "Last-Modified": self.modified,
        }

    def fine(self, change=None, status=206, body=None):
        first, last = self.part()
        headers = self.fine_headers(first, last)
        headers.update(change or {})
        headers = {k: v for k, v in headers.items() if v is not None}
        self.reply(status, headers, file_bytes[first : last + 1] if body is None else body)
        return True

    def is_tail(self):
        return self.headers.get("Range", "").startswith("bytes=-")

    def do_GET(self):
        global n_requests
        with lock:
            n_requests += 1
            self.number = n_requests
        self.n_sent = 0
        began = time.time()
        try:
            for name, argument in faults:
                if getattr(self, "fault_" + name)(argument):
                    break
            else:
                self.fine()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        with lock:
            json.dump(
                {
                    "n": self.number,
                    "at": time.time(),
                    "began": began,
                    "path": self.path,
                    "range": self.headers.get("Range"),
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "sent": self.n_sent,
                },
                log,
            )
            log.write("\n")
            log.flush()

    # Each takes its argument as text, and returns whether it answered.

    def fault_whole_for_range(self, which):
        """200 with the whole file; "body": for all but the tail."""
        if which == "body" and self.is_tail():
            return False
        return self.fine({"Content-Range": None}, 200, file_bytes)

    def fault_wrong_range(self, how):
        if self.is_tail():
            return False
        first, last = self.part()
        size = len(file_bytes)
        value = {
            "start": f"bytes {first + 1}-{last}/{size}",
            "end": f"bytes {first}-{last + 1}/{size}",
            "malformed": f"bytes {first}..{last}",
            "missing": None,
        }[how]
        return self.fine({"Content-Range": value})

    def fault_short_body(self, limit):
        """Half of it, then the end of the connection."""
        if self.is_tail() or not times("short", int(limit)):
            return False
        first, last = self.part()
        self.reply(206, self.fine_headers(first, last), b"", last + 1 - first)
        self.send(file_bytes[first : (first + last) // 2])
        self.close_connection = True
        return True

    def fault_reset(self, limit):
        """Half of it, then a reset."""
        if self.is_tail() or not times("reset", int(limit)):
            return False
        first, last = self.part()
        self.reply(206, self.fine_headers(first, last), b"", last + 1 - first)
        self.send(file_bytes[first : (first + last) // 2])
        self.die()
        return True

    def fault_excess(self, _):
        """A body longer than its Content-Range."""
        if self.is_tail():
            return False
        first, last = self.part()
        return self.fine(body=file_bytes[first : last + 1] + b"more")

    def fault_changed(self, what):
        if self.number == 1:
            return False
        if what == "etag":
            return self.fine({"ETag": '"two"'})
        if what == "modified":
            return self.fine({"ETag": None, "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"})
        first, last = self.part()
        return self.fine({"Content-Range": f"bytes {first}-{last}/{len(file_bytes) + 1}"})

    def fault_no_etag(self, _):
        self.etag = "W/x"
        return False

    def fault_expires(self, seconds):
        """/x redirects to /signed/TIME, which is good for so long."""
        m = re.fullmatch(r"/signed/(\d+)\?signature=secret", self.path)
        if not m:
            where = f"/signed/{time.time_ns()}?signature=secret"
            self.reply(302, {"Location": where}, b"moved")
            return True
        if time.time_ns() - int(m.group(1)) < float(seconds) * 1e9:
            return False
        self.reply(403, {}, b"expired")
        return True

    def fault_signed(self, limit):
        """/x redirects to /signed/K; each of these is good for `limit` requests."""
        m = re.fullmatch(r"/signed/(\d+)\?signature=secret", self.path)
        if not m:
            self.reply(302, {"Location": f"/signed/{self.number}?signature=secret"}, b"moved")
            return True
        if times(m.group(0), int(limit)):
            return False
        self.reply(403, {}, b"expired")
        return True

    def fault_patience(self, header):
        """429 twice, with a header that asks for a second of patience."""
        if self.is_tail() or not times("patience", 2):
            return False
        value = {"Retry-After": "1", "RateLimit": '"resolvers";r=0;t=1'}[header]
        self.reply(429, {header: value}, b"slow down")
        return True

    def fault_spent(self, limit):
        """Fine, and so many times the word that nothing is left for a second."""
        if self.is_tail() or not times("spent", int(limit)):
            return self.fine({"RateLimit": '"resolvers";r=5;t=3600'})
        return self.fine({"RateLimit": '"resolvers";r=0;t=1'})

    def fault_endless_heads(self, _):
        """1xx after 1xx."""
        if self.is_tail():
            return False
        while True:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")

    def fault_slow_head(self, limit):
        """A head, a byte at a time."""
        if self.is_tail() or not times("slow_head", int(limit)):
            return False
        for byte in b"HTTP/1.1 206 Partial Content\r\nX-Y: " + b"z" * 1000:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)
        return True

    def fault_endless_error(self, status):
        """A refusal whose body does not end."""
        self.reply(int(status), {"Transfer-Encoding": "chunked"})
        while True:
            self.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    def fault_status(self, argument):
        """A status, so many times: "503,3"."""
        status, limit = argument.split(",")
        if not times("status", int(limit)):
            return False
        self.reply(int(status), {"RateLimit": '"api";r=99;t=3600'}, b"trouble")
        return True

    def fault_wait(self, argument):
        """503 with a Retry-After of so many seconds."""
        self.reply(503, {"Retry-After": argument}, b"trouble")
        return True

    def fault_stall(self, limit):
        """Some bytes, then silence."""
        if self.is_tail() or not times("stall", int(limit)):
            return False
        first, last = self.part()
        self.reply(206, self.fine_headers(first, last), b"", last + 1 - first)
        self.send(file_bytes[first : first + 100])
        time.sleep(30)
        return True

    def fault_silence(self, limit):
        """Not even a head."""
        if self.is_tail() or not times("silence", int(limit)):
            return False
        time.sleep(30)
        return True

    def fault_drip(self, _):
        """A byte at a time."""
        if self.is_tail():
            return False
        first, last = self.part()
        self.reply(206, self.fine_headers(first, last), b"", last + 1 - first)
        for at in range(first, last + 1):
            self.send(file_bytes[at : at + 1])
            time.sleep(0.05)
        return True

    def fault_loop(self, _):
        self.reply(302, {"Location": f"/again/{self.number}"}, b"moved")
        return True

    def fault_redirects(self, n):
        """So many redirects, then the file."""
        m = re.fullmatch(r"/hop/(\d+)", self.path)
        hop = int(m.group(1)) if m else 0
        if hop == int(n):
            return False
        self.reply(302, {"Location": f"/hop/{hop + 1}"}, b"moved")
        return True

    def fault_wordy_redirect(self, n):
        """A redirect to the file, with a page of n bytes."""
        if self.path == "/there":
            return False
        self.reply(302, {"Location": "/there"}, b"m" * int(n))
        return True

    def fault_to(self, url):
        """A redirect to another place; "NAME" of the path is kept."""
        self.reply(302, {"Location": url} if url else {}, b"moved")
        return True

    def fault_compresses(self, _):
        return self.fine({"Content-Encoding": "gzip"})

    def fault_long_head(self, limit):
        if self.is_tail() or not times("long_head", int(limit)):
            return False
        first, last = self.part()
        headers = self.fine_headers(first, last)
        headers.update({f"X-{i}": "x" * 500 for i in range(90)})
        headers.update({f"Y-{i}": "x" * 500 for i in range(90)})
        self.reply(206, headers, file_bytes[first : last + 1])
        return True

    def fault_garbage(self, limit):
        if not times("garbage", int(limit)):
            return False
        self.wfile.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
        self.close_connection = True
        return True

    def fault_flip(self, argument):
        """One byte is another, the first LIMIT times that a range shows it: "OFFSET,LIMIT"."""
        at, limit = (int(x) for x in argument.split(","))
        first, last = self.part()
        if not first <= at <= last or not times(f"flip{at}", limit):
            return False
        body = bytearray(file_bytes[first : last + 1])
        body[at - first] ^= 0x10
        return self.fine(body=bytes(body))

    def fault_slow(self, rate):
        """So many bytes per second, for each connection."""
        first, last = self.part()
        self.reply(206, self.fine_headers(first, last), b"", last + 1 - first)
        step = max(1, int(rate) // 20)
        for at in range(first, last + 1, step):
            self.send(file_bytes[at : min(at + step, last + 1)])
            time.sleep(0.05)
        return True

    def fault_quiet(self, path):
        """Requests are taken and not answered for as long as a file called `path` is there."""
        while os.path.exists(path):
            time.sleep(0.05)
        return False

    def fault_gone(self, path):
        """Connections are dropped for as long as a file called `path` is there."""
        if not os.path.exists(path):
            return False
        self.die()
        return True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


def main():
    global file_bytes, log
    with open(sys.argv[1], "rb") as f:
        file_bytes = f.read()
    log = open(sys.argv[2], "a", encoding="utf-8")
    for fault in sys.argv[3:]:
        name, _, argument = fault.partition(":")
        faults.append((name, argument))
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


main()
