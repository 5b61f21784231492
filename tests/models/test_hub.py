"""A local server stands in for the hub: what is fetched, what is cached, what each failure says.

huggingface_hub reads its environment when it is imported, so each fetch is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgepack.models.hub import split_id

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from edgepack.errors import EdgepackError
from edgepack.models import open_checkpoint, read_decoder
verb, source = sys.argv[1:]
try:
    if verb == "shape":
        print(*read_decoder(source)[0:1])
    else:
        checkpoint = open_checkpoint(source)
        print(checkpoint.name, checkpoint.revision, checkpoint.root)
except EdgepackError as error:
    print(f"{error.message}; {error.hint}")
    sys.exit(error.exit_code)
"""


class Hub(ThreadingHTTPServer):
    """Repositories as folders; `fetched` lists the files asked for, in order."""

    def __init__(self, repositories):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.fetched = []
        self.cut = ()  # files whose bodies end too early

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *args):
        """Nothing on stderr."""

    def answer(self):
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "api" and parts[1] == "models":
            self.api("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self.file("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self.send(404)

    def api(self, name, rest):
        folder = self.server.repositories.get(name)
        if folder is None:
            return self.send(401, code="RepoNotFound")
        if folder == "gated":
            return self.send(403, code="GatedRepo")
        if rest[:1] in (["revision"], ["tree"]) and rest[1] not in ("main", COMMIT):
            return self.send(404, code="RevisionNotFound")
        files = sorted(path for path in folder.iterdir())
        if rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": digest(p)[:40]}
                for p in files
            ]
            return self.send(200, json.dumps(entries).encode())
        siblings = [{"rfilename": path.name} for path in files]
        info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False}
        return self.send(200, json.dumps(info).encode())

    def file(self, name, path):
        if self.command == "GET":
            self.server.fetched.append(path)
        found = self.server.repositories[name] / path
        if not found.is_file():
            return self.send(404, code="EntryNotFound")
        return self.send(200, found.read_bytes(), etag=digest(found), cut=path in self.server.cut)

    def send(self, status, body=b"", code=None, etag=None, cut=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        if cut:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(builder, tmp_path):
    whole = builder.write(tmp_path / "remote", "qwen2", shards=2)
    (whole / "README.md").write_text("---\nlicense: mit\n---\n")
    (whole / "pytorch_model.bin").write_bytes(b"never fetched")
    (whole / "setup.py").write_text("never fetched")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((whole / "config.json").read_text())
    (pickled / "pytorch_model.bin").write_bytes(b"never fetched")
    server = Hub({"org/whole": whole, "org/pickled": pickled, "org/gated": "gated"})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(hub, tmp_path):
    """Run open_checkpoint ("open") or read_decoder ("shape"); gives exit code and what was said."""

    def make(verb, source, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        given = {
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": hub.address,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, verb, source],
            env=kept | given | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout.strip()

    return make


def test_a_checkpoint_is_fetched_once_and_found_offline_again(hub, ask, tmp_path):
    code, said = ask("open", "org/whole")
    assert code == 0, said
    name, revision, root = said.split()
    assert (name, revision) == ("org/whole", COMMIT)
    assert Path(root).is_relative_to(tmp_path / "home")
    assert set(hub.fetched) == {
        "README.md", "config.json", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    }  # fmt: skip
    hub.fetched.clear()
    assert ask("open", "org/whole", HF_HUB_OFFLINE="1") == (code, said)
    assert ask("open", f"org/whole@{COMMIT}", HF_HUB_OFFLINE="1")[0] == 0
    assert hub.fetched == []


def test_the_shape_of_a_model_is_one_file(hub, ask):
    assert ask("shape", "org/whole") == (0, "org/whole")
    assert hub.fetched == ["config.json"]


def test_a_repository_of_pickles(hub, ask):
    code, said = ask("open", "org/pickled")
    assert code == 2
    assert "holds no safetensors" in said
    assert "pytorch_model.bin" not in hub.fetched


@pytest.mark.parametrize(
    ("source", "environment", "expected"),
    [
        ("org/nothing", {}, "no such repository"),
        ("org/gated", {}, "is gated"),
        ("org/whole@v9", {}, "no revision 'v9'"),
        ("org/whole", {"HF_HUB_OFFLINE": "1"}, "could not be fetched"),
        ("org/whole", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be fetched"),
    ],
)
def test_what_is_not_to_be_had(ask, source, environment, expected):
    code, said = ask("open", source, **environment)
    assert (code, expected in said) == (6, True), said


def test_a_body_that_is_cut_off(hub, ask):
    hub.cut = ("tokenizer.json",)
    code, said = ask("open", "org/whole")
    assert (code, "could not be fetched" in said) == (6, True), said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name", ("org/name", None)),
        ("org/na.me-1_b@refs/pr/3", ("org/na.me-1_b", "refs/pr/3")),
        ("org/name@", None),
        ("name", None),
        ("a/b/c", None),
        ("../name", None),
        ("org/..", None),
        ("org/name\n", None),
        ("org/n ame", None),
        ("-org/name", None),
    ],
)
def test_hub_ids(text, parts):
    assert split_id(text) == parts
