"""The limit of a pipeline's stage: aiokafka takes records from one topic and writes them, as they are, to the next."""

from __future__ import annotations

import asyncio
import os
import signal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main() -> None:
    servers, topic, to = (os.environ[f"BENCH_{name}"] for name in ("BOOTSTRAP_SERVERS", "TOPIC", "TO"))
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id=topic, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    await consumer.start()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async for record in consumer:
            await producer.send(to, record.value, record.key)
    except asyncio.CancelledError:
        pass
    finally:
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main())
