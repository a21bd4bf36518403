"""Submits a task and gets its result with nothing but a NATS client, as src/docs/protocol.md describes it.

usage: submit.py URL TASK INPUT; prints the state, the attempt and the output as one line of JSON.
"""

import asyncio
import json
import secrets
import sys

import nats
from nats.js.errors import APIError


async def main(url: str, task: str, body: str) -> None:
    connection = await nats.connect(url)
    stream = connection.jetstream()
    # Any name of small letters, digits, - and _ that nobody else takes will do.
    task_id = secrets.token_hex(13)
    subject = f"lvg.default.task.default.5.{task_id}"

    results = await connection.subscribe(f"lvg.default.res.{task_id}")
    stored = await stream.publish(subject, body.encode(), headers={"Lovage-Task": task})
    assert stored.stream == "LVG_TASK_default", stored
    try:
        await stream.publish(subject, body.encode(), headers={"Lovage-Task": task})
        again = "accepted"
    except APIError as error:
        again = error.description

    while True:
        record = await results.next_msg(timeout=30)
        if record.headers["Lovage-State"] != "retrying":
            break

    # Who knows the place of a record could replace it; a record is only ever written where there was none.
    try:
        await stream.publish(record.subject, b"forged", headers={"Nats-Expected-Last-Subject-Sequence": "0"})
        forged = "accepted"
    except APIError as error:
        forged = error.description

    print(json.dumps({
        "again": again,
        "forged": forged,
        "headers": {name: value for name, value in record.headers.items() if name.startswith("Lovage-")},
        "output": json.loads(record.data),
    }))
    await connection.close()


asyncio.run(main(*sys.argv[1:]))
