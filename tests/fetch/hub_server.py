#!/usr/bin/env python3
"""A mock of the Hugging Face Hub: one repository, org/name, whose files are those of a folder.

usage: hub_server.py FOLDER LOG [FAULT[:ARGUMENT]]...

Two servers, as two origins: the Hub itself, and the store that its redirects lead to with signed
URLs.  Prints their ports as the first line; ends when stdin ends.  Every request becomes a line of
JSON in LOG: its number, which server, path, range, headers, status and body bytes sent.  Files of
100 kB and more are LFS files.  SIGHUP reads the folder anew, as another commit.  FAULTS:

  page:N            N entries on a page of the listing (default: 3)
  gated:TOKEN       files go to who has it, all else is 403 GatedRepo
  private:TOKEN     nothing is known to others: 401 RepoNotFound
  patience:N        the first N requests to the Hub are 429, half of them with RateLimit
  uses:N            a signed URL works N times, then it is 403
  flip:PATH,N       the first N bodies that have PATH's first byte have another one
  foreign           the listing goes on at the other server
  circle            the second page of the listing is its own next
  path:PATH         the listing has this path, too
  etag:PATH         redirects of PATH say that it is another file
  slow:RATE         bytes per second for each body
  answer:TEXT       is what the Hub says of any revision
  gone:FILE         connections are dropped for as long as FILE is there
"""
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse

LFS_BYTES = 100_000
lock = threading.Lock()
n_requests = 0
counts = {}
folder = sys.argv[1]
log = open(sys.argv[2], "a", encoding="utf-8")
faults = dict(fault.partition(":")[::2] for fault in sys.argv[3:])
files = {}
commit = ""
ports = {}


def times(name, limit):
    """Whether this is one of the first `limit` times that `name` is asked for."""
    with lock:
        counts[name] = counts.get(name, 0) + 1
        return counts[name] <= limit


def read_folder(*_):
    global files, commit
    found = {}
    for root, _dirs, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            size = os.path.getsize(path)
            sha1, sha256 = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
            with open(path, "rb") as f:
                while data := f.read(1 << 20):
                    sha256.update(data)
                    if size < LFS_BYTES:
                        sha1.update(data)
            found[os.path.relpath(path, folder)] = {
                "size": size,
                "sha1": sha1.hexdigest(),
                "sha256": sha256.hexdigest(),
                "lfs": size >= LFS_BYTES,
            }
    files = found
    commit = hashlib.sha1("".join(p + files[p]["sha1"] for p in sorted(files)).encode()).hexdigest()


def entry(path):
    """An item of the listing, as the Hub has it."""
    file = files[path]
    item = {"type": "file", "oid": file["sha1"], "size": file["size"], "path": path}
    if file["lfs"]:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file['sha256']}\nsize {file['size']}\n"
        item["oid"] = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer.encode()).hexdigest()
        item["lfs"] = {"oid": file["sha256"], "size": file["size"], "pointerSize": len(pointer)}
        item["xetHash"] = file["sha256"][::-1]
    return item


def listing():
    folders = {os.path.dirname(p) for p in files} - {""}
    items = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in sorted(folders)]
    items += [entry(path) for path in sorted(files)]
    if "path" in faults:
        items.append({"type": "file", "oid": "0" * 40, "size": 1, "path": faults["path"]})
    return items


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body=b""):
        self.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        rate = int(faults.get("slow", 0))
        step = rate // 20 or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            self.n_sent += len(body[at : at + step])
            if rate:
                time.sleep(0.05)

    def json(self, value, headers=None):
        self.reply(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def refuse(self, status, code, headers=None):
        self.reply(status, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}, b'{"error":"no"}')

    def file(self, path, etag):
        size = files[path]["size"]
        first, last = 0, size - 1
        want = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if want and want[1]:
            first, last = int(want[1]), min(int(want[2] or last), last)
        elif want:
            first = max(0, size - int(want[2]))
        with open(os.path.join(folder, path), "rb") as f:
            f.seek(first)
            body = bytearray(f.read(last + 1 - first))
        name, _, limit = faults.get("flip", "").partition(",")
        if name == path and first == 0 and body and times("flip", int(limit)):
            body[0] ^= 0x10
        if want:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.reply(206 if want else 200, headers, bytes(body))

    def may(self, fault):
        return fault not in faults or self.headers.get("Authorization") == "Bearer " + faults[fault]

    def do_GET(self):
        global n_requests
        with lock:
            n_requests += 1
            number = n_requests
        self.n_sent = self.status = 0
        try:
            if os.path.exists(faults.get("gone", "/none/such")):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            else:
                self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        with lock:
            json.dump(
                {
                    "n": number,
                    "server": self.server.name,
                    "path": self.path,
                    "range": self.headers.get("Range"),
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "status": self.status,
                    "sent": self.n_sent,
                },
                log,
            )
            log.write("\n")
            log.flush()


class Hub(Handler):
    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if "patience" in faults and times("patience", int(faults["patience"])):
            odd = counts["patience"] % 2
            wait = {"RateLimit": '"api";r=0;t=1'} if odd else {"Retry-After": "1"}
            return self.refuse(429, "", wait)
        if not self.may("private"):
            return self.refuse(401, "RepoNotFound")
        api = re.fullmatch(r"/api/(models|datasets)/org/name/(revision|tree)/([^/]+)", url.path)
        resolve = re.fullmatch(r"/(?:datasets/)?org/name/resolve/([^/]+)/(.+)", url.path)
        if api and api[2] == "revision":
            return self.revision(urllib.parse.unquote(api[3]))
        if api and api[3] == commit:
            return self.tree(url.path, int(query.get("cursor", ["0"])[0]))
        if resolve:
            return self.resolve(*map(urllib.parse.unquote, resolve.groups()))
        return self.refuse(404, "RepoNotFound" if "/org/name" not in url.path else "EntryNotFound")

    def revision(self, revision):
        if revision not in ("main", "v1", "refs/pr/1", commit):
            return self.refuse(404, "RevisionNotFound")
        if "answer" in faults:
            return self.reply(200, {"Content-Type": "application/json"}, faults["answer"].encode())
        siblings = [{"rfilename": path} for path in sorted(files)]
        return self.json({"id": "org/name", "sha": commit, "private": False, "siblings": siblings})

    def tree(self, path, at):
        items, size = listing(), int(faults.get("page", 3))
        headers = {}
        if at + size < len(items):
            port = ports["store" if "foreign" in faults else "hub"]
            cursor = at if "circle" in faults and at else at + size
            headers["Link"] = (
                f'<http://127.0.0.1:{port}{path}?recursive=true&cursor={cursor}>; rel="next"'
            )
        return self.json(items[at : at + size], headers)

    def resolve(self, revision, path):
        if revision not in ("main", "v1", commit):
            return self.refuse(404, "RevisionNotFound")
        if not self.may("gated"):
            return self.refuse(403, "GatedRepo")
        if path not in files:
            return self.refuse(404, "EntryNotFound")
        file = files[path]
        if not file["lfs"]:
            return self.file(path, file["sha1"])
        with lock:
            counts["signature"] = counts.get("signature", 0) + 1
            signature = f"secret{counts['signature']}"
        signed = {"to": signature, "path": path}
        return self.reply(
            302,
            {
                "Location": f"http://localhost:{ports['store']}/blob?{urllib.parse.urlencode(signed)}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(file["size"]),
                "X-Linked-ETag": '"%s"' % ("0" * 64 if faults.get("etag") == path else file["sha256"]),
                "ETag": f'"{file["sha1"]}"',
            },
            b"Found",
        )


class Store(Handler):
    """Where the bytes of LFS files are."""

    def answer(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        path, signature = query.get("path", [""])[0], query.get("to", [""])[0]
        uses = int(faults.get("uses", 1 << 30))
        if path not in files or not signature or not times(signature, uses):
            return self.reply(403, {}, b"expired")
        return self.file(path, files[path]["sha256"])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


def main():
    read_folder()
    signal.signal(signal.SIGHUP, read_folder)
    for name, handler in (("hub", Hub), ("store", Store)):
        server = Server(("127.0.0.1", 0), handler)
        server.name = name
        ports[name] = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(ports["hub"], ports["store"], flush=True)
    sys.stdin.read()


main()
