"""A stand-in for the W&B server on 127.0.0.1: the part of its interface that a run, a resumed run and `wandb sync` use.

The client is the real one. Its requests are kept by run: config, tags, history by line, summary, uploaded files.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef" * 2 + "01234567"  # of 40 hex digits, as W&B's are; secret as far as tests are concerned


@dataclass
class Server:
    """The data that arrived, and the server's behaviour."""

    url: str = ""
    runs: dict[str, dict] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)  # all that came with a question
    views: list[dict] = field(default_factory=list)  # saved workspaces
    lost_after: str = ""  # from the first request for this on, nothing is answered
    lost: str = "silent"  # silent: takes requests, and never answers · gone: hangs up
    is_lost: bool = False
    stuck: str = ""  # this alone is not answered, for as long as it stands here
    refuses: bool = False  # takes no key
    denied: str = ""  # this alone is answered with 403, for as long as it stands here
    stop: Callable[[], None] = lambda: None  # nobody listens any more


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port until the block ends."""
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # a client that has gone
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()

    @cache
    def stop() -> None:
        http.shutdown()
        http.server_close()

    server.stop = stop
    try:
        yield server
    finally:
        server.lost = "gone"  # ends requests that wait
        server.stop()


def environment_of(server: Server) -> dict[str, str]:
    """Return the variables with which a command talks to `server`."""
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            text = self._body() or b"{}"
            server.heard.append(text.decode())
            body = json.loads(text)
            if self.path.endswith("/file_stream"):
                asked, answer = "file_stream", lambda: _stream(server, self.path.split("/")[-2], body)
            elif self.path != "/graphql":  # W&B's measurements of its own client
                asked, answer = self.path, dict
            else:
                asked = body.get("operationName") or body["query"].split("(")[0].split("{")[0].split()[-1]
                answer = lambda: {"data": _graphql(server, asked, body.get("variables") or {})}  # noqa: E731
            self._answer(asked, answer)

        def do_PUT(self) -> None:
            _, _, run, name = self.path.split("/", 3)
            content = self._body()
            self._answer("upload", lambda: server.runs.setdefault(run, _empty())["files"].update({name: content}) or {})

        def do_GET(self) -> None:
            self._answer(self.path, dict)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, asked: str, answer) -> None:
            server.asked.append(asked)
            server.is_lost |= asked == server.lost_after
            while server.is_lost and server.lost == "silent":
                time.sleep(0.05)
            if server.is_lost:
                self.close_connection = True
                self.connection.close()
                return
            while server.stuck == asked and server.lost != "gone":
                time.sleep(0.05)
            refused = server.refuses or server.denied == asked
            content = json.dumps({"errors": [{"message": "user is not logged in"}]} if refused else answer())
            content = content.encode()
            self.send_response(401 if server.refuses else 403 if server.denied == asked else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    return Handler


def _empty() -> dict:
    return {"config": {}, "tags": [], "history": {}, "summary": {}, "files": {}, "exit_code": None}


def _stream(server: Server, run: str, body: dict) -> dict:
    kept = server.runs[run]
    for name, part in body.get("files", {}).items():
        if name == "wandb-history.jsonl":
            lines = {part["offset"] + number: json.loads(line) for number, line in enumerate(part["content"])}
            kept["history"] |= lines
        if name == "wandb-summary.json":
            kept["summary"] = json.loads(part["content"][-1])
    if body.get("complete"):
        kept["exit_code"] = body.get("exitcode")
    return {}


def _graphql(server: Server, asked: str, given: dict) -> dict:  # noqa: PLR0911 (one per question)
    project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "someone"}}
    input_ = given.get("input", {})
    place = f"{server.url}/upload"
    if asked in ("Viewer", "GetViewer", "GetDefaultEntity"):
        viewer = {"id": "u", "entity": "someone", "username": "someone", "email": "", "flags": "{}", "admin": False}
        viewer |= {"__typename": "User", "name": "someone", "deletedAt": None, "apiKeys": None}
        return {"viewer": {**viewer, "teams": {"edges": []}}}
    if asked == "RunResumeStatus":
        return {"model": {**project, "bucket": _resumed(server.runs.get(given["name"]))}}
    if asked == "UpsertBucket":
        return {"upsertBucket": _upserted(server, given, project)}
    if asked == "CreateRunFiles":
        files = [{"name": name, "uploadUrl": f"{place}/{given['run']}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
    if asked == "CreateArtifact":
        artifact = {"id": f"{input_['runName']}:{input_['artifactCollectionName']}", "state": "PENDING"}
        return {"createArtifact": {"artifact": {**artifact, "artifactSequence": {"latestArtifact": None}}}}
    if asked == "CreateArtifactManifest":
        file = {"id": "f", "uploadUrl": f"{place}/{given['runName']}/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
    if asked == "CreateArtifactFiles":
        return {
            "createArtifactFiles": {"files": {"edges": [_artifact_file(place, one) for one in input_["artifactFiles"]]}}
        }
    if asked == "CommitArtifact":
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}
    if asked == "UpsertView2":
        server.views.append(given | {"spec": json.loads(given["spec"])})
        return {"upsertView": {"view": {"id": "v", "name": given["name"]}, "inserted": True}}
    if asked == "ArtifactType":
        return {"project": None}
    return {}


def _artifact_file(place: str, file: dict) -> dict:
    run = file["artifactID"].partition(":")[0]
    node = {"storagePath": file["name"], "uploadUrl": f"{place}/{run}/{file['name']}", "uploadHeaders": []}
    return {"node": {**node, "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}}


def _upserted(server: Server, given: dict, project: dict) -> dict:
    inserted = given["name"] not in server.runs
    kept = server.runs.setdefault(given["name"], _empty())
    names = {"displayName": "name", "groupName": "group", "jobType": "job_type", "notes": "notes", "tags": "tags"}
    kept |= {called: given[name] for name, called in names.items() if given.get(name)}
    kept["config"] |= json.loads(given["config"]) if given.get("config") else {}
    bucket = {"id": given["name"], "name": given["name"], "displayName": kept.get("name"), "config": "{}"}
    lines = len(kept["history"])
    return {"bucket": {**bucket, "project": project, "historyLineCount": lines}, "inserted": inserted}


def _resumed(run: dict | None) -> dict | None:
    if run is None:
        return None
    last = [json.dumps(line) for _, line in sorted(run["history"].items())][-1:]
    bucket = {"id": "r", "name": "r", "displayName": run.get("name"), "tags": run["tags"], "notes": run.get("notes")}
    counts = {"logLineCount": 0, "historyLineCount": len(run["history"]), "eventsLineCount": 0}
    texts = {"summaryMetrics": run["summary"], "historyTail": last, "eventsTail": [], "config": run["config"]}
    return {**bucket, **counts, **{name: json.dumps(text) for name, text in texts.items()}, "wandbConfig": '{"t": 1}'}
