"""A Hugging Face Hub on the loopback: what its client asks when models are sent and loaded, and no more."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_of_a_test_only"
OWNER = "me"
LICENSES = ("mit", "cc-by-4.0", "apache-2.0")


class LoopbackHub:
    """Its repositories, and what it was asked.

    Attributes:
        repositories: {owner/name: {"private": …, "branches": {branch: {file: bytes}}, "shas": {branch: sha}}}
        asked: (method, path) of each request.
        refuse: {a piece of a path: (status, words)}: answers that requests get instead.
        commits: What each commit said of itself.
    """

    def __init__(self):
        self.repositories, self.asked, self.refuse, self.commits, self.large = {}, [], {}, [], {}
        hub = self

        class Handler(_Handler):
            the_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def files(self, name, branch="main"):
        return self.repositories[name]["branches"][branch]

    def make(self, name, *, private=False, **files):
        self.repositories[name] = {
            "private": private,
            "branches": {"main": dict(files)},
            "shas": {"main": "0" * 40},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """A test says what went wrong, not the server."""

    def do_POST(self):
        self._answer("POST")

    def do_PUT(self):
        self._answer("PUT")

    def do_GET(self):
        self._answer("GET")

    def do_HEAD(self):
        self._answer("HEAD")

    def _answer(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.the_hub.asked.append((method, path))
        for piece, (status, words) in self.the_hub.refuse.items():
            if piece in path:
                return self._reply(status, {"error": words})
        for verb, pattern, work in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method in verb:
                return work(self, body, *found.groups())
        return self._reply(501, {"error": f"nobody taught this Hub {method} {path}"})

    def _reply(self, status, content=None, headers=(), data=None):
        data = json.dumps(content).encode() if data is None else data
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self, code):
        self._reply(404, {"error": "not found"}, [("X-Error-Code", code), ("X-Error-Message", "not found")])

    def _is_known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _may_write(self, name):
        if not self._is_known():
            words = "Invalid credentials in Authorization header"
            self._reply(401, {"error": words}, [("X-Error-Message", words)])
        elif name.partition("/")[0] != OWNER:
            words = (
                f"You don't have the rights to create a model under the namespace {name.partition('/')[0]}"
            )
            self._reply(403, {"error": words}, [("X-Error-Message", words)])
        else:
            return True
        return False

    def create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._may_write(name):
            return None
        if name in self.the_hub.repositories:
            return self._reply(409, {"error": "You already created this model repo", "url": name})
        self.the_hub.make(name, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return self._reply(200, {"url": f"{self.the_hub.endpoint}/{name}", "name": name})

    def info(self, _, name, branch="main"):
        there = self.the_hub.repositories.get(name)
        if there is None or (there["private"] and not self._is_known()):
            return self._missing("RepoNotFound")
        if branch not in there["branches"]:
            return self._missing("RevisionNotFound")
        files = [{"rfilename": file} for file in there["branches"][branch]]
        facts = {"_id": "1", "id": name, "modelId": name, "sha": there["shas"][branch]}
        return self._reply(200, {**facts, "private": there["private"], "siblings": files, "tags": []})

    def branch(self, _, name, branch):
        if not self._may_write(name):
            return None
        there = self.the_hub.repositories[name]
        if branch in there["branches"]:
            return self._reply(409, {"error": "Reference already exists"})
        there["branches"][branch] = dict(there["branches"]["main"])
        there["shas"][branch] = there["shas"]["main"]
        return self._reply(200, {})

    def validate(self, body):
        text = json.loads(body)["content"]
        front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        said = yaml.safe_load(front[1]) if front else {}
        errors = []
        if said.get("license") not in (None, *LICENSES):
            errors.append({"message": f'"license" must be one of [{", ".join(LICENSES)}]'})
        for field in ("library_name", "pipeline_tag", "license"):
            if not isinstance(said.get(field, ""), str):
                errors.append({"message": f'"{field}" must be a string'})
        return self._reply(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body, name, _):
        if not self._may_write(name):
            return None
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        return self._reply(200, {"files": modes})

    def batch(self, body, _):
        objects = [
            {
                "oid": one["oid"],
                "size": one["size"],
                "actions": {"upload": {"href": f"{self.the_hub.endpoint}/_large/{one['oid']}", "header": {}}},
            }
            for one in json.loads(body)["objects"]
        ]
        return self._reply(200, {"transfer": "basic", "objects": objects})

    def store(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.the_hub.large[oid] = body
        self._reply(200, {})

    def commit(self, body, name, branch):
        if not self._may_write(name):
            return None
        there = self.the_hub.repositories[name]
        files = there["branches"][branch]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.the_hub.commits.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "lfsFile"
                files[value["path"]] = self.the_hub.large[value["oid"]]
        there["shas"][branch] = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        url = f"{self.the_hub.endpoint}/{name}/commit/{there['shas'][branch]}"
        return self._reply(200, {"success": True, "commitUrl": url, "commitOid": there["shas"][branch]})

    def resolve(self, _, name, branch, file):
        there = self.the_hub.repositories.get(name)
        if there is None:
            return self._missing("RepoNotFound")
        branch = next((b for b, sha in there["shas"].items() if branch in (b, sha)), None)
        if branch is None:
            return self._missing("RevisionNotFound")
        if file not in there["branches"][branch]:
            return self._missing("EntryNotFound")
        data = there["branches"][branch][file]
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = [("X-Repo-Commit", there["shas"][branch]), ("ETag", etag), ("Accept-Ranges", "bytes")]
        return self._reply(200, headers=headers, data=data)


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/models/{_NAME}", _Handler.info),
    ("GET", f"/api/models/{_NAME}/revision/([^/]+)", _Handler.info),
    ("POST", f"/api/models/{_NAME}/branch/([^/]+)", _Handler.branch),
    ("POST", f"/api/models/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    ("POST", f"/api/models/{_NAME}/commit/([^/]+)", _Handler.commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/_large/([0-9a-f]+)", _Handler.store),
    (("GET", "HEAD"), f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
)
