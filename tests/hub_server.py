"""A Hub on the loopback interface: in memory, with faults on demand.

It answers what the client of `huggingface_hub` 2.x asks when it creates a repository, uploads,
commits, tags, lists and downloads. Tests reach it with the real client and ``HF_ENDPOINT``.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_" + "CanaryOfTheLoopbackHub" * 2
"""The token that may write, and read what is private."""
_PAGE = 25
"""Entries of a page of the tree, so that a tiny dataset has several."""


@dataclass(frozen=True)
class Blob:
    """A file of a commit, in git or in the large-file storage."""

    content: bytes
    large: bool = False

    @property
    def git_oid(self) -> str:
        stored = self.pointer if self.large else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {len(self.content)}\n"
        ).encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_oid


@dataclass
class Repository:
    """Commits, branches and tags of one repository."""

    private: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, Blob], branch: str = "main") -> str:
        listing = sorted((name, blob.etag) for name, blob in files.items())
        text = repr((self.branches.get(branch), listing, len(self.commits)))
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = dict(files)
        self.branches[branch] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)


@dataclass
class Reply:
    """What goes back; a fault may change it, or send only its first bytes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int | None = None
    """Bytes of the body that leave before the connection is cut; -1 cuts before any answer."""

    @property
    def data(self):
        return json.loads(self.body)

    @data.setter
    def data(self, value):
        self.body = json.dumps(value).encode()


@dataclass
class Fault:
    """A change of replies to requests that match.

    Attributes
    ----------
    pattern : str
        Regular expression for "METHOD /path?query".
    change : callable
        Gets the `Reply`.
    skip, times : int
        Matching requests to leave alone first, and to change then.
    instead : bool
        The server does nothing; `change` gets an empty reply.
    """

    pattern: str
    change: Callable[[Reply], None]
    skip: int = 0
    times: int = 10**9
    instead: bool = False
    happened: int = 0
    _seen: int = 0

    def strikes(self, request: str) -> bool:
        if not re.search(self.pattern, request):
            return False
        self._seen += 1
        if not self.skip < self._seen <= self.skip + self.times:
            return False
        self.happened += 1
        return True


def status(
    code: int, message: str = "", error: str = "", **headers: str
) -> Callable[[Reply], None]:
    """Answer with an error."""

    def change(reply: Reply) -> None:
        reply.status, reply.data = code, {"error": message or f"error {code}"}
        reply.headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if error:
            reply.headers["X-Error-Code"] = error

    return change


def cut(share: float) -> Callable[[Reply], None]:
    """Close the connection within the body; a negative share sends nothing at all."""

    def change(reply: Reply) -> None:
        reply.sent = -1 if share < 0 else int(len(reply.body) * share)

    return change


def flip(position: float, mask: int = 1) -> Callable[[Reply], None]:
    """Turn a bit of the body."""

    def change(reply: Reply) -> None:
        if reply.body:
            at = min(int(len(reply.body) * position), len(reply.body) - 1)
            body = bytearray(reply.body)
            body[at] ^= mask
            reply.body = bytes(body)

    return change


class HubServer(ThreadingHTTPServer):
    """The Hub: `repositories` by (kind, id), `faults`, and a list of all `requests`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.authorised: list[str] = []
        self.connections = 0
        self.is_large: Callable[[str, int], bool] = lambda path, size: False
        self.on_request: Callable[[int, str], None] = lambda number, request: None
        self.lock = threading.RLock()
        self._numbers = count()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def repository(self, repo_id: str, kind: str = "datasets") -> Repository:
        return self.repositories[kind, repo_id]

    def hold(self, repo_id: str, folder: Path, *tags: str, kind: str = "datasets") -> Repository:
        """Put a folder into a repository at once, as if it had been pushed."""
        repository = self.repositories.setdefault((kind, repo_id), Repository())
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files = {path.relative_to(folder).as_posix(): Blob(path.read_bytes()) for path in paths}
        oid = repository.commit({".gitattributes": Blob(b"*.bin filter=lfs\n"), **files})
        repository.tags |= dict.fromkeys(tags, oid)
        return repository

    def calm(self) -> None:
        """Forget faults and what was asked."""
        self.faults, self.requests, self.authorised = [], [], []
        self.is_large = lambda path, size: False
        self.on_request = lambda number, request: None

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Clients are killed on purpose; their broken pipes are no news."""

    def start(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.content = self._chunks()
        else:
            self.content = self.rfile.read(length)
        request = f"{self.command} {self.path}"
        server = self.server
        with server.lock:
            server.requests.append(request)
            if self.headers.get("Authorization"):
                server.authorised.append(request)
            fault = next((each for each in server.faults if each.strikes(request)), None)
            server.on_request(next(server._numbers), request)
            reply = Reply() if fault and fault.instead else self._answer()
        if fault:
            fault.change(reply)
        self._send(reply)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, reply: Reply) -> None:
        if reply.sent == -1:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
        for key, value in (headers | reply.headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.sent])
        if reply.sent is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _answer(self) -> Reply:
        parts = urlsplit(self.path)
        self.query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        for pattern, method in _ROUTES:
            match = re.fullmatch(pattern, f"{self.command} {parts.path}")
            if match:
                return method(self, *(unquote(group or "") for group in match.groups()))
        return _error(404, f"the loopback Hub does not answer {self.command} {parts.path}")

    @property
    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _found(self, kind: str, repo_id: str) -> Repository:
        repository = self.server.repositories.get((kind, repo_id))
        if repository is None or (repository.private and not self._may_write):
            # Like the real one: whoever has no token cannot tell "missing" from "private".
            code = 404 if self.headers.get("Authorization") else 401
            raise _Refused(_error(code, "Repository not found", "RepoNotFound"))
        return repository

    def _at(self, kind: str, repo_id: str, revision: str) -> tuple[Repository, str]:
        repository = self._found(kind, repo_id)
        oid = repository.resolve(revision)
        if oid is None:
            raise _Refused(_error(404, f"Invalid rev id: {revision}", "RevisionNotFound"))
        return repository, oid

    def _writable(self, kind: str, repo_id: str) -> Repository:
        repository = self._found(kind, repo_id)
        if not self._may_write:
            raise _Refused(_error(403, "this token may not write"))
        return repository

    # What is asked, in the order of a push and a pull.

    def whoami(self) -> Reply:
        return _json({"name": "me"}) if self._may_write else _error(401, "Invalid credentials")

    def create(self) -> Reply:
        asked = json.loads(self.content)
        if not self._may_write:
            return _error(401, "Invalid username or password.")
        repo_id = f"{asked.get('organization') or 'me'}/{asked['name']}"
        key = (f"{asked.get('type', 'model')}s", repo_id)
        if key in self.server.repositories:
            reply = _error(409, "You already created this repo")
            reply.data |= {"url": f"{self.server.url}/{key[0]}/{repo_id}"}
            return reply
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        repository = Repository(private)
        repository.commit({".gitattributes": Blob(b"*.bin filter=lfs\n")})
        self.server.repositories[key] = repository
        return _json({"url": f"{self.server.url}/{key[0]}/{repo_id}", "id": repo_id})

    def info(self, kind: str, repo_id: str, revision: str = "main") -> Reply:
        repository, oid = self._at(kind, repo_id, revision)
        siblings = [{"rfilename": name} for name in sorted(repository.commits[oid])]
        facts = {"id": repo_id, "sha": oid, "private": repository.private, "tags": []}
        return _json(facts | {"siblings": siblings, "downloads": 0, "likes": 0})

    def validate(self) -> Reply:
        return _json({"errors": [], "warnings": []})

    def preupload(self, kind: str, repo_id: str, revision: str) -> Reply:
        repository = self._writable(kind, repo_id)
        there = repository.commits[repository.resolve(revision)]
        files = []
        for asked in json.loads(self.content)["files"]:
            mode = "lfs" if self.server.is_large(asked["path"], asked["size"]) else "regular"
            facts = {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}
            if asked["path"] in there:
                facts["oid"] = there[asked["path"]].etag
            files.append(facts)
        return _json({"files": files})

    def batch(self, repo_id: str) -> Reply:
        if not self._may_write:
            return _error(401, "Invalid credentials")
        objects = []
        for asked in json.loads(self.content)["objects"]:
            if asked["oid"] not in self.server.large_files:
                # Another host name, as the storage of the real one: no token may go there.
                href = f"http://localhost:{self.server.server_port}/storage/{asked['oid']}"
                asked = {**asked, "actions": {"upload": {"href": href}}}
            objects.append(asked)
        return _json({"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> Reply:
        if hashlib.sha256(self.content).hexdigest() != oid:
            return _error(400, "the bytes have another sha256")
        self.server.large_files[oid] = self.content
        return Reply()

    def commit(self, kind: str, repo_id: str, revision: str) -> Reply:
        repository = self._writable(kind, repo_id)
        parent = repository.branches[revision]
        files = dict(repository.commits[parent])
        for line in self.content.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header" and value.get("parentCommit", parent) != parent:
                return _error(412, "A commit has happened since")
            if key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in self.server.large_files:
                    return _error(400, "no such large file")
                files[value["path"]] = Blob(self.server.large_files[value["oid"]], large=True)
            elif key == "deletedFile":
                files.pop(value["path"], None)
        oid = repository.commit(files, revision)
        url = f"{self.server.url}/{kind}/{repo_id}/commit/{oid}"
        return _json({"commitOid": oid, "commitUrl": url})

    def tag(self, kind: str, repo_id: str, revision: str) -> Reply:
        repository = self._writable(kind, repo_id)
        name = json.loads(self.content)["tag"]
        if name in repository.tags:
            return _error(409, f"Tag reference already exists: {name}")
        repository.tags[name] = self._at(kind, repo_id, revision)[1]
        return _json({})

    def refs(self, kind: str, repo_id: str) -> Reply:
        repository = self._found(kind, repo_id)

        def listed(refs: dict[str, str], kind: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid}
                for name, oid in refs.items()
            ]

        tags, branches = listed(repository.tags, "tags"), listed(repository.branches, "heads")
        return _json({"branches": branches, "tags": tags, "converts": []})

    def tree(self, kind: str, repo_id: str, revision: str) -> Reply:
        repository, oid = self._at(kind, repo_id, revision)
        entries = []
        for name, blob in sorted(repository.commits[oid].items()):
            size = len(blob.content)
            entry = {"type": "file", "path": name, "size": size, "oid": blob.git_oid}
            if blob.large:
                entry["lfs"] = {"oid": blob.sha256, "size": size, "pointerSize": len(blob.pointer)}
            entries.append(entry)
        first = int(self.query.get("cursor", 0))
        reply = _json(entries[first : first + _PAGE])
        if first + _PAGE < len(entries):
            path = f"/api/{kind}/{repo_id}/tree/{quote(revision, safe='')}"
            url = f"{self.server.url}{path}?recursive=true&cursor={first + _PAGE}"
            reply.headers["Link"] = f'<{url}>; rel="next"'
        return reply

    def resolve(self, kind: str, repo_id: str, revision: str, path: str) -> Reply:
        repository, oid = self._at(kind or "models", repo_id, revision)
        blob = repository.commits[oid].get(path)
        if blob is None:
            return _error(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": oid, "ETag": f'"{blob.etag}"'}
        if not blob.large:
            return self._ranged(blob.content, headers)
        self.server.large_files[blob.sha256] = blob.content
        headers |= {
            "X-Linked-ETag": headers["ETag"],
            "X-Linked-Size": str(len(blob.content)),
            "Location": f"http://localhost:{self.server.server_port}/storage/{blob.sha256}",
        }
        return Reply(302, headers)

    def stored(self, oid: str) -> Reply:
        if oid not in self.server.large_files:
            return _error(404, "no such object")
        return self._ranged(self.server.large_files[oid], {"ETag": f'"{oid}"'})

    def _ranged(self, content: bytes, headers: dict[str, str]) -> Reply:
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return Reply(200, headers, content)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first > last:
            return Reply(416, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Reply(206, headers, content[first : last + 1])


class _Refused(Exception):  # noqa: N818 - an answer, not an error of the server
    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def _answering(method: Callable[..., Reply]) -> Callable[..., Reply]:
    def answer(*arguments: object) -> Reply:
        try:
            return method(*arguments)
        except _Refused as refused:
            return refused.reply

    return answer


def _json(data: object) -> Reply:
    return Reply(body=json.dumps(data).encode())


def _error(code: int, message: str, error: str = "") -> Reply:
    reply = Reply()
    status(code, message, error)(reply)
    return reply


_REPO = "/api/(models|datasets)/([^/]+/[^/]+)"
_FILE = "/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)"
_ROUTES = [
    (pattern, _answering(method))
    for pattern, method in (
        ("GET /api/whoami-v2", _Handler.whoami),
        ("POST /api/repos/create", _Handler.create),
        (f"GET {_REPO}", _Handler.info),
        (f"GET {_REPO}/revision/([^/]+)", _Handler.info),
        ("POST /api/validate-yaml", _Handler.validate),
        (f"POST {_REPO}/preupload/([^/]+)", _Handler.preupload),
        (r"POST /(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
        ("PUT /storage/([0-9a-f]+)", _Handler.store),
        (f"POST {_REPO}/commit/([^/]+)", _Handler.commit),
        (f"POST {_REPO}/tag/([^/]+)", _Handler.tag),
        (f"GET {_REPO}/refs", _Handler.refs),
        (f"GET {_REPO}/tree/([^/]+)", _Handler.tree),
        (f"(?:GET|HEAD) {_FILE}", _Handler.resolve),
        ("(?:GET|HEAD) /storage/([0-9a-f]+)", _Handler.stored),
    )
]
