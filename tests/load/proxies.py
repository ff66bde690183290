"""proxies.py DIRECT PROXY TOKEN: writes at one address, follows at another, and is cut off after every three events."""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

TICKETS = 200
direct, proxy, token = sys.argv[1:]
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
answered, told = {}, {}


def connect(url):
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)


def write():
    connection = connect(direct)
    for nth in range(TICKETS):
        connection.request("POST", "/v1/tickets", json.dumps({"subject": f"Number {nth}"}), headers)
        number = json.loads(connection.getresponse().read())["number"]
        answered[number] = time.monotonic()
        time.sleep(0.02)


writer = threading.Thread(target=write)
order, last, cuts = [], None, 0
while len(order) < TICKETS:
    connection = connect(proxy)
    connection.request("GET", "/v1/changes/stream?types=ticket.created", headers=headers | ({"Last-Event-ID": last} if last else {}))
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    events = 0
    while raw := answer.readline():
        line = raw.decode().rstrip("\n")
        if line.startswith("id: "):
            last = line[4:]
            if not order and not writer.is_alive():
                writer.start()
        elif line.startswith("data: "):
            number = json.loads(line[6:])["ticket"]["number"]
            order.append(number)
            told[number] = time.monotonic()
            events += 1
        elif not line and (events >= 3 or len(order) >= TICKETS):
            break
    connection.close()
    cuts += 1
writer.join()
assert order == sorted(answered), f"{len(order)} were told of {len(answered)}: {order}"
after_ms = sorted((told[number] - answered[number]) * 1000 for number in told)
print(f"cut off {cuts} times, {len(order)} events, none lost, none twice; ms after the answer, those of new connections too: "
      f"p50 {after_ms[len(after_ms) // 2]:.1f}, p99 {after_ms[len(after_ms) * 99 // 100]:.1f}")
