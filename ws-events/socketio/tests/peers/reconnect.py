"""Does python-socketio connect again after its server was killed?

python3 reconnect.py URL TRANSPORTS: as reconnect.mjs.
"""

import json
import sys
import threading

import socketio

url, transports = sys.argv[1], json.loads(sys.argv[2])
client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
connected = threading.Semaphore(0)
report = {"answers": [], "reasons": [], "ids": set()}


@client.event
def connect():
    connected.release()


@client.event
def disconnect(reason):
    report["reasons"].append(reason)


def ask():
    connected.acquire()
    report["ids"].add(client.sid)
    report["answers"].append(client.call("double", 21))


client.connect(url, socketio_path="engine.io", transports=transports)
ask()
print("connected", flush=True)
ask()
client.disconnect()
report["ids"] = len(report["ids"])
report["reasons"] = report["reasons"][:1]
print(json.dumps(report), flush=True)
