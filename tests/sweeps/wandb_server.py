"""The few GraphQL calls that `wandb sweep` and `wandb agent` make, answered on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = {
    "id": "u1",
    "name": "me",
    "username": "me",
    "entity": "me",
    "email": "a@b.c",
    "admin": False,
    "flags": "{}",
}
PROJECT = {"id": "p1", "name": "partnerface", "entity": {"id": "e1", "name": "me"}}


class WandbServer:
    """Takes one sweep and hands out its runs one by one. A context manager.

    Args:
        rows: parameters of each run, in order: what W&B's grid search would choose.
        refusal: what everything is answered with, and status 401, as to somebody whose key is not known.

    Attributes:
        url: address of the server.
        sweep: the configuration as `wandb sweep` sent it, as YAML text.
        unknown: queries that nothing here answers.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], refusal: dict[str, Any] | None = None) -> None:
        self._rows = list(rows)
        self._refusal = refusal
        self._given = 0
        self.sweep: str | None = None
        self.unknown: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> WandbServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The ``data`` of a GraphQL answer."""
        answers = {
            "upsertSweep(": self._upsert_sweep,
            "createAgent(": self._create_agent,
            "agentHeartbeat(": self._heartbeat,
            "sweep(sweepName": self._find_sweep,
            "viewer": lambda _: {"viewer": {**USER, "teams": {"edges": []}, "apiKeys": {"edges": []}}},
            "serverInfo": lambda _: {"serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}},
            "__type": lambda _: {"__type": {"fields": [], "inputFields": []}},
        }
        for part, respond in answers.items():
            if part in query:
                return respond(variables)
        self.unknown.append(query)
        return {}

    def _upsert_sweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.sweep = variables["config"]
        return {"upsertSweep": {"sweep": {"name": "s1", "project": PROJECT}, "configValidationWarnings": []}}

    def _create_agent(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "a1"}}}

    def _find_sweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s1", "name": "s1", "state": "RUNNING", "config": self.sweep, "runs": {"edges": []}}
        return {"project": {**PROJECT, "sweep": sweep}}

    def _heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        """A run whenever none is at work, and the end after the last: an exit would kill one at work."""
        at_work = any(json.loads(variables.get("runState") or "{}").values())
        commands: list[dict[str, Any]] = []
        if not at_work and self._given < len(self._rows):
            values = {name: {"value": value} for name, value in self._rows[self._given].items()}
            run = {"type": "run", "run_id": f"r{self._given}", "program": "partnerface", "args": values}
            commands.append(run)
            self._given += 1
        elif not at_work:
            commands.append({"type": "exit"})
        return {"agentHeartbeat": {"agent": {"id": "a1"}, "commands": json.dumps(commands)}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Nothing on the terminal."""

            def do_GET(self) -> None:
                self._send({})

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if not self.path.endswith("/graphql"):
                    return self._send({})
                request = json.loads(content)
                return self._send({"data": server.answer(request["query"], request.get("variables") or {})})

            def _send(self, content: dict[str, Any]) -> None:
                refusal = server._refusal
                body = json.dumps(content if refusal is None else refusal).encode()
                self.send_response(200 if refusal is None else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
