"""The reference's states, kept: the same bytes, without a look at the layers."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity import reference, states
from edgepack.fidelity.reference import Lane
from edgepack.fidelity.states import Store, lane_key, states_of, user_store
from edgepack.models import open_checkpoint
from edgepack.models.safetensors import TensorRef

IDS = [[5, 6, 7, 8], [9, 10, 11]]


@pytest.fixture
def folder(builder, tmp_path):
    builder.write(tmp_path / "tiny", "qwen3")
    return tmp_path / "tiny"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "kept")


@pytest.fixture
def reads(monkeypatch):
    """Names of the tensors that are read, in order."""
    names, read = [], TensorRef.read_stored

    def counted(self, *rows):
        names.append(self.name)
        return read(self, *rows)

    monkeypatch.setattr(TensorRef, "read_stored", counted)
    return names


def logits(folder, store, *lanes):
    found = states_of(open_checkpoint(str(folder)), lanes or (Lane("d", IDS),), store=store)
    return [state.logits(i) for state in found for i in range(len(state.lane.documents))]


def test_a_second_run_reads_the_head_alone_and_gives_the_same_bytes(folder, store, reads):
    first = logits(folder, store)
    assert len(set(reads)) == len(open_checkpoint(str(folder)).tensors)
    reads.clear()
    again = logits(folder, store)
    assert reads == ["lm_head.weight"]
    assert [a.tobytes() for a in again] == [a.tobytes() for a in first]


def test_only_the_lanes_that_are_not_kept_run(folder, store, monkeypatch):
    ran, run = [], reference.run

    def noted(checkpoint, lanes, progress):
        ran.extend(lane.name for lane in lanes)
        return run(checkpoint, lanes, progress)

    monkeypatch.setattr(reference, "run", noted)
    logits(folder, store)
    both = logits(folder, store, Lane("d", IDS), Lane("floor", IDS, "BF16"))
    assert ran == ["d", "floor"]
    assert not np.array_equal(both[0], both[2])


def test_a_lane_gives_the_same_bits_beside_others(folder):
    alone = logits(folder, None)
    beside = logits(folder, None, Lane("x", [[1, 2, 3]] * 5), Lane("d", IDS))
    assert [a.tobytes() for a in beside[5:]] == [a.tobytes() for a in alone]


def test_the_key_is_all_that_decides_the_states(builder, folder, tmp_path):
    lane = Lane("d", IDS)
    opened = open_checkpoint(str(folder))
    key = lane_key(opened, lane)
    assert lane_key(open_checkpoint(str(folder)), Lane("d", [list(ids) for ids in IDS])) == key
    others = [
        lane_key(opened, Lane("e", IDS)),
        lane_key(opened, Lane("d", IDS, "BF16")),
        lane_key(opened, Lane("d", [[5, 6, 7], [8, 9, 10, 11]])),
        lane_key(opened, Lane("d", IDS[:1])),
    ]
    builder.write(tmp_path / "theta", "qwen3", rope_theta=123.0)
    others.append(lane_key(open_checkpoint(str(tmp_path / "theta")), lane))
    shard = folder / "model.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    others.append(lane_key(open_checkpoint(str(folder)), lane))
    assert len({key, *others}) == 7


def test_the_key_is_also_the_code_of_all_that_makes_the_states():
    """Every module of ours that reading a checkpoint's weights and running its layers goes through.

    What reads config.json is not among them: its result, the decoder, is in the key itself.
    """
    named = {Path(module.__file__) for module in states.MAKERS}
    package = Path(states.__file__).parents[1]
    for path in ("fidelity/reference.py", "fidelity/rounding.py", "fidelity/head.py",
                 "formats/slabs.py", "models/rope.py",
                 "models/safetensors.py"):  # fmt: skip
        assert package / path in named


@pytest.mark.parametrize("number", range(len(states.MAKERS)))
def test_another_text_of_any_of_these_modules_is_another_key(folder, tmp_path, monkeypatch, number):
    opened, lane = open_checkpoint(str(folder)), Lane("d", IDS)
    key = lane_key(opened, lane)
    changed = tmp_path / "changed.py"
    changed.write_bytes(Path(states.MAKERS[number].__file__).read_bytes() + b"#")
    monkeypatch.setattr(states.MAKERS[number], "__file__", str(changed))
    assert lane_key(opened, lane) != key


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-4],
        lambda content: content + b"1234",
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
        lambda content: content[:20],
        lambda content: content[:-1],
    ],
)
def test_a_damaged_entry_is_made_again(folder, store, reads, damage):
    first = logits(folder, store)
    (entry,) = store.folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    reads.clear()
    assert [a.tobytes() for a in logits(folder, store)] == [a.tobytes() for a in first]
    assert len(set(reads)) > 1
    assert entry.read_bytes() == whole


def test_the_oldest_entries_make_room(tmp_path):
    content = np.ones((10, 10), np.float32)
    size = 32 + content.nbytes
    store = Store(tmp_path, 2 * size)
    for age, key in enumerate("abc"):
        store.save(key, content)
        if (tmp_path / f"{key}.states").exists():
            os.utime(tmp_path / f"{key}.states", ns=(age, age))
    assert store.load("a", (10, 10)) is None
    assert store.load("b", (10, 10)) is not None  # used last now
    store.save("d", content)
    assert [key for key in "bcd" if store.load(key, (10, 10)) is not None] == ["b", "d"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= store.limit


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out(tmp_path):
    store = Store(tmp_path, 500)
    store.save("small", np.ones((10, 10), np.float32))
    store.save("large", np.ones((20, 10), np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["small.states"]


def test_a_folder_that_cannot_be_written_keeps_nothing(folder, tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "kept")
    assert len(logits(folder, store)) == 2
    assert store.load("a", (1, 1)) is None


def _save_often(folder, value):
    content = np.full((64, 64), value, np.float32)
    store = Store(folder, 5 * content.nbytes)
    for n in range(50):
        store.save(f"{n % 7}", content)
        kept = store.load(f"{n % 7}", (64, 64))
        assert kept is None or (kept == kept[0, 0]).all()


def test_several_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_save_often, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert not list(tmp_path.glob(".*"))


def test_where_it_lies_and_how_much_it_may_take(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path / "own"))
    assert user_store() == Store(tmp_path / "own" / "states", states.DEFAULT_LIMIT)
    monkeypatch.delenv("EDGEPACK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("EDGEPACK_CACHE_SIZE", "2M")
    assert user_store() == Store(tmp_path / "xdg" / "edgepack" / "states", 2 * 1024**2)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_store().folder == tmp_path / ".cache" / "edgepack" / "states"
    monkeypatch.setenv("EDGEPACK_CACHE_SIZE", "0")
    assert user_store() is None
    monkeypatch.setenv("EDGEPACK_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="much"):
        user_store()


def test_a_checkpoint_that_changes_meanwhile_is_refused(folder, store):
    opened = open_checkpoint(str(folder))
    shard = folder / "model.safetensors"
    shard.write_bytes(shard.read_bytes())
    with pytest.raises(DamagedInput, match="changed"):
        states_of(opened, [Lane("d", IDS)], store=store)
    assert not store.folder.exists()
