"""A local server stands in for the hub: what is fetched, what is cached, what each failure says.

huggingface_hub reads its environment when it is imported, so each fetch is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from edgepack.models.hub import split_id

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from edgepack.errors import EdgepackError
from edgepack.models import open_checkpoint, read_decoder, read_task_shape
verb, source = sys.argv[1:]
try:
    if verb == "shape":
        print(*read_decoder(source)[0:1])
    elif verb == "task":
        found = read_task_shape(source)
        print(found.name, found.parameters, found.context_length)
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
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
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
        files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        if rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": p.stat().st_size, "oid": digest(p)[:40]}
                for name, p in sorted(files.items())
            ]
            return self.send(200, json.dumps(entries).encode())
        siblings = [{"rfilename": name} for name in sorted(files)]
        info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False}
        return self.send(200, json.dumps(info).encode())

    def file(self, name, path):
        part = self.headers.get("Range")
        if self.command == "GET":
            self.server.fetched.append(f"{path} {part}" if part else path)
        found = self.server.repositories[name] / path
        if not found.is_file():
            return self.send(404, code="EntryNotFound")
        body = found.read_bytes()
        if part:
            start, stop = part.removeprefix("bytes=").split("-")
            return self.send(206, body[int(start) : int(stop) + 1])
        return self.send(200, body, etag=digest(found), cut=path in self.server.cut)

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


HEADS = [
    "config.json",
    "model-00001-of-00002.safetensors bytes=0-100000",
    "model-00002-of-00002.safetensors bytes=0-100000",
    "model.safetensors.index.json",
]


def test_the_shape_of_a_model_is_config_json_and_the_heads_of_its_weights(hub, ask):
    assert ask("shape", "org/whole") == (0, "org/whole")
    assert sorted(hub.fetched) == HEADS


def test_weights_that_are_another_models_are_found_without_fetching_them(hub, ask):
    config = hub.repositories["org/whole"] / "config.json"
    config.write_text(
        config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    )
    code, said = ask("shape", "org/whole")
    assert code == 5
    assert "tensor 'model.layers.2" in said
    assert sorted(hub.fetched) == HEADS


def test_heads_that_are_no_safetensors(hub, ask):
    shard = hub.repositories["org/whole"] / "model-00002-of-00002.safetensors"
    shard.write_bytes(b"\x10" + bytes(7) + b"not a JSON head." + bytes(100))
    code, said = ask("shape", "org/whole")
    assert code == 5, said
    assert "its weights are no safetensors" in said


def test_without_a_network_config_json_alone_is_the_shape(hub, ask):
    assert ask("shape", "org/whole")[0] == 0
    assert ask("shape", "org/whole", HF_HUB_OFFLINE="1") == (0, "org/whole")


def test_a_repository_of_pickles(hub, ask):
    code, said = ask("open", "org/pickled")
    assert code == 2
    assert "holds no safetensors" in said
    assert "pytorch_model.bin" not in hub.fetched


def test_weights_of_other_layouts_are_left_there(hub, ask):
    """An index names its shards; beside it lie what vLLM, adapters and ONNX take."""
    whole = hub.repositories["org/whole"]
    (whole / "onnx").mkdir()
    for name in ("consolidated.safetensors", "adapter_model.safetensors", "onnx/model.safetensors",
                 "model.fp16.safetensors"):  # fmt: skip
        (whole / name).write_bytes(b"never fetched")
    code, said = ask("open", "org/whole")
    assert code == 0, said
    assert {name for name in hub.fetched if name.endswith(".safetensors")} == {
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    }  # fmt: skip


def test_without_an_index_one_file_is_the_model(hub, ask, builder, tmp_path):
    single = builder.write(tmp_path / "single", "qwen2")
    hub.repositories["org/single"] = single
    (single / "consolidated.safetensors").write_bytes(b"never fetched")
    (single / "model.fp16.safetensors").write_bytes(b"never fetched")
    code, said = ask("open", "org/single")
    assert code == 0, said
    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert weights == ["model.safetensors"]
    assert ask("open", "org/single", HF_HUB_OFFLINE="1") == (code, said)


def test_without_an_index_a_file_of_another_name(hub, ask, builder, tmp_path):
    single = builder.write(tmp_path / "single", "qwen2")
    hub.repositories["org/single"] = single
    (single / "model.safetensors").rename(single / "weights[1].safetensors")
    (single / "adapter_model.safetensors").write_bytes(b"never fetched")
    assert ask("open", "org/single")[0] == 0
    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert weights == ["weights[1].safetensors"]


@pytest.mark.parametrize("away", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_weights_that_were_never_fetched_are_missing(ask, away):
    """Where only the shape is in the cache, nothing says what the repository holds."""
    assert ask("shape", "org/whole")[0] == 0
    code, said = ask("open", "org/whole", **away)
    assert code == 6, said
    assert re.search("incomplete|weights were never fetched", said)  # the client's words or ours


def test_a_shard_that_was_never_fetched_is_missing(hub, ask, tmp_path):
    assert ask("open", "org/whole")[0] == 0
    shard = "model-00002-of-00002.safetensors"
    next((tmp_path / "home").rglob(shard)).unlink()
    code, said = ask("open", "org/whole", HF_HUB_OFFLINE="1")
    assert code == 6, said
    assert re.search(f"could not be fetched|{shard} was never fetched", said)


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


ENCODER = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30, "hidden_size": 8,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
}  # fmt: skip


def test_of_an_encoder_all_but_its_weights_is_fetched(hub, ask, tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(ENCODER))
    (folder / "tokenizer.json").write_text("{}")
    head = json.dumps({"w": {"dtype": "F32", "shape": [30, 8], "data_offsets": [0, 960]}}).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(960))
    hub.repositories["org/encoder"] = folder
    assert ask("task", "org/encoder") == (0, "org/encoder 240 64")
    weights = [name for name in hub.fetched if "safetensors" in name and "index" not in name]
    assert weights == ["model.safetensors bytes=0-100000"]
