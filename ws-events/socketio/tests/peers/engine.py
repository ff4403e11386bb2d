"""Does python-engineio, with its default options, exchange messages in order during an upgrade?

python3 engine.py URL COUNT: as engine.mjs.
"""

import json
import sys
import time

import engineio

url, count = sys.argv[1], int(sys.argv[2])
client = engineio.Client()
report = {"received": 0, "inOrder": True}


def encode(number):
    return number.to_bytes(4, "big") if number % 10 == 9 else str(number)


def decode(data):
    return int.from_bytes(data, "big") if isinstance(data, bytes) else int(data)


@client.on("message")
def on_message(data):
    report["inOrder"] = report["inOrder"] and decode(data) == report["received"]
    report["received"] += 1


client.connect(url, engineio_path="engine.io")
for number in range(count):
    client.send(encode(number))
while report["received"] < count and client.state == "connected":
    time.sleep(0.01)
report["transport"] = client.transport()
client.disconnect()
print(json.dumps(report))
