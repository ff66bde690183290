"""rebinding.py BASE_URL TOKEN: sends webhooks to names that stand for another address each time they are asked for."""

import json
import socket
import struct
import sys
import threading
import urllib.request
from collections import Counter

BASE, TOKEN = sys.argv[1:]
PUBLIC, INSIDE, METADATA = "93.184.216.34", "127.0.0.1", "169.254.169.254"
# What a name stands for, each time that it is asked for.
NAMES = {
    "inside.test": [[INSIDE]],
    "flips.test": [[PUBLIC], [INSIDE]],
    "flips-later.test": [[PUBLIC], [PUBLIC], [INSIDE], [METADATA]],
    "both.test": [[PUBLIC, INSIDE]],
    "metadata.test": [[METADATA], [PUBLIC, METADATA]],
    "public.test": [[PUBLIC]],
}
asked, reached = Counter(), []


def name_server():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question, (kind,) = query[12 : at + 5], struct.unpack("!H", query[at + 1 : at + 3])
        name, addresses = ".".join(labels), []
        if kind == 1 and name in NAMES:
            answers = NAMES[name]
            addresses = answers[asked[name] % len(answers)]
            asked[name] += 1
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(one) for one in addresses)
        server.sendto(query[:2] + b"\x81\x80\0\1" + struct.pack("!H", len(addresses)) + b"\0\0\0\0" + question + records, client)


def listener(port):
    server = socket.create_server(("127.0.0.1", port))
    while True:
        connection, client = server.accept()
        reached.append((port, client))
        connection.close()


def ask(method, path, body=None):
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}
    request = urllib.request.Request(BASE + path, body and json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


for run in [name_server, lambda: listener(443), lambda: listener(8443)]:
    threading.Thread(target=run, daemon=True).start()
told = {}
for name in NAMES:
    for port in ["", ":8443"]:
        hook = ask("POST", "/v1/webhooks", {"name": name + port, "url": f"https://{name}{port}/"})
        told[name + port] = Counter(ask("POST", f"/v1/webhooks/{hook['id']}/test")["error"] for _ in range(12))
for name, errors in told.items():
    print(f"{name}: {dict(errors)}")
assert not reached, reached
assert min(asked[name] for name in NAMES) >= 24, asked
assert all(errors <= Counter({"address_refused": 12, "connect": 12}) for errors in told.values())
assert set(told["inside.test"]) == set(told["both.test"]) == set(told["metadata.test"]) == {"address_refused"}
assert set(told["public.test"]) == {"connect"} and len(told["flips.test"]) == 2
print("nothing that listens here was reached")
