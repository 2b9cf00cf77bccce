"""A W&B server on this machine that keeps what a client sends, and forgets it when the test ends.

It answers as far as the client needs it to go on, and checks nothing: it shows what is sent, not that W&B takes it.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Server(ThreadingHTTPServer):
    """What has arrived: every GraphQL operation with its variables, and the rows of each run's history by its id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.history: dict[str, list[str]] = defaultdict(list)
        self.preempting: set[str] = set()
        self.files: dict[str, int] = {}

    def rows(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.history[run]]

    def sent(self, operation: str) -> list[dict[str, Any]]:
        """The variables of each such operation."""
        return [variables for name, variables in self.operations if name == operation]

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        entity = {"id": "E", "name": "me", "organization": None}
        project = {"id": "P", "internalId": "P", "name": given.get("project"), "entity": entity}
        run = {"id": "R", "name": given.get("name"), "displayName": given.get("displayName"), "project": project}
        viewer = {"id": "V", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        if name == "RunResumeStatus":
            rows = self.history[given["name"]]
            if not any(each["name"] == given["name"] for each in self.sent("UpsertBucket")):
                return {"model": {**project, "bucket": None}}
            run |= {"historyLineCount": len(rows), "historyTail": json.dumps(rows[-1:]), "eventsLineCount": 0}
            run |= {"logLineCount": 0, "eventsTail": "[]", "summaryMetrics": "{}", "config": "{}", "tags": []}
            return {"model": {**project, "bucket": {**run, "notes": "", "wandbConfig": '{"t": {}}'}}}
        return {
            "Viewer": {"viewer": viewer},
            "UpsertBucket": {"upsertBucket": {"bucket": {**run, "config": "{}", "description": ""}, "inserted": True}},
            "CreateRunFiles": {
                "createRunFiles": {
                    "runID": "R",
                    "uploadHeaders": [],
                    "files": [{"name": file, "uploadUrl": f"{self.address}/{file}"} for file in given.get("files", [])],
                }
            },
            "UpsertView2": {
                "upsertView": {"view": {"id": "VmlldzoxMjM=", "name": given.get("name")}, "inserted": True}
            },
        }.get(name, {"viewer": viewer, "entity": entity, "project": project})


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            name, given = found.group(1) if found else "", asked.get("variables") or {}
            self.server.operations.append((name, given))
            self._reply({"data": self.server.answer(name, given)})
        elif self.path.endswith("/file_stream"):
            run = self.path.split("/")[-2]
            sent = json.loads(body)
            self.server.preempting |= {run} if sent.get("preempting") else set()
            if "wandb-history.jsonl" in sent.get("files", {}):
                rows = sent["files"]["wandb-history.jsonl"]
                self.server.history[run][rows["offset"] :] = rows["content"]
            self._reply({})
        else:
            self._reply({})

    def do_PUT(self) -> None:
        self.server.files[self.path] = len(self._body())
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Quietly."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server; `server.address` is for WANDB_BASE_URL, with any WANDB_API_KEY of 40 characters."""
    server = Server()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
