"""The limit of the gateway: the same framework and server, which says 202 to what it has read, and keeps nothing."""

from __future__ import annotations

import os

import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()


@app.post("/v1/feeds/{feed}", status_code=202)
async def accept(feed: str, request: Request) -> JSONResponse:  # noqa: ARG001 (part of the path)
    body = await request.body()
    kind = request.headers["content-type"]
    if kind == "application/x-ndjson":
        accepted = sum(1 for line in body.splitlines() if orjson.loads(line))
    else:
        told = orjson.loads(body)
        accepted = len(told) if isinstance(told, list) else 1
    return JSONResponse({"accepted": accepted, "rejected": 0, "errors": []}, 202)


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["HTTP_PORT"]), log_level="warning", access_log=False)
