# /// script
# dependencies = ["torch", "transformers>=5.10.1,<6", "starlette", "uvicorn"]
# ///
"""
A small local server around a saved model and the `handler.py` beside this file, for tests: what an Inference Endpoint
would answer. The code that is saved beside the weights is run.

    pip install starlette uvicorn
    python examples/deploy/serve.py my-unimc --port 8000
    curl http://127.0.0.1:8000 -H "Content-Type: application/json" \
        -d '{"inputs": "Stocks fell.", "parameters": {"candidate_labels": ["sports", "business"]}}'

`POST /` takes a body and answers JSON: status 200; or `{"error": ...}` with 400 (what is wrong with the request), 413
(more than `--max-bytes`) or 500. `GET /health` answers once the model is loaded. It listens on this machine only
unless `--host` says otherwise, and has no authentication.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from handler import EndpointHandler
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


class AsciiJSONResponse(JSONResponse):
    """JSON that can be sent whatever was asked: UTF-8 has no bytes for half a surrogate pair, an escape can say it."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


def make_app(handler: Callable[[dict[str, Any]], Any], max_bytes: int) -> Starlette:
    """The server of one handler; a body of more than `max_bytes` is refused before it is read to its end."""
    turn = asyncio.Lock()  # the handler answers one at a time anyway, and who waits here takes no thread

    async def predict(request: Request) -> Response:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    return AsciiJSONResponse({"error": f"The body has more than {max_bytes} bytes."}, 413)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        try:
            data = json.loads(body)
            async with turn:
                if await request.is_disconnected():
                    return Response(status_code=400)
                return AsciiJSONResponse(await run_in_threadpool(handler, data))
        except (TypeError, ValueError, RecursionError) as error:
            return AsciiJSONResponse({"error": str(error)}, 400)
        except Exception:
            logging.exception("a request failed")
            return AsciiJSONResponse({"error": "The server failed; its log says why."}, 500)

    async def health(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/", predict, methods=["POST"]), Route("/health", health)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a saved model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-bytes", type=int, default=4_000_000)
    arguments = parser.parse_args()
    app = make_app(EndpointHandler(str(arguments.model)), arguments.max_bytes)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
