"""Examples on disk: what was written before a stop or a power cut is gone on with, and the bytes come out the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from unlearning.errors import RunDamagedError
from unlearning.methods.examples import Example, StoredExamples, examples_kept, save_examples

K = 3


def example(seed):
    """A block with some targets; every fourth has none, and so no width of its own."""
    generator = np.random.default_rng(seed)
    time, rows = int(generator.integers(5, 12)), 0 if seed % 4 == 0 else int(generator.integers(1, 5))
    ids = generator.integers(0, 99, time).astype(np.int32)
    positions = np.arange(rows, dtype=np.int32)
    width = K if rows else 1
    return Example(ids, positions, generator.integers(0, 99, (rows, width)), generator.random((rows, width)))


BLOCKS = [example(seed) for seed in range(12)]


class PowerCut(BaseException):
    """Ends everything, as a signal would."""


def until(stop):
    for place, block in enumerate(BLOCKS):
        if place == stop:
            raise PowerCut
        yield block


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    save_examples(BLOCKS, folder, what="alice")
    return files(folder)


@pytest.mark.parametrize("stop", range(len(BLOCKS)))
def test_stopped_anywhere_it_goes_on_and_ends_with_the_same_bytes(tmp_path, whole, stop):
    with pytest.raises(PowerCut):
        save_examples(until(stop), tmp_path, what="alice")
    assert not (tmp_path / "index.json").exists() and examples_kept(tmp_path, "alice") == stop
    kept = stop - stop % 2  # in batches of two
    save_examples(BLOCKS[kept:], tmp_path, kept=kept, what="alice")
    assert files(tmp_path) == whole and examples_kept(tmp_path, "alice") == len(BLOCKS)


def test_what_was_written_after_the_last_word_of_it_is_cut_off(tmp_path, whole):
    """Killed: nothing could be said at the end, and the files hold more than was said, half a block among it."""
    with pytest.raises(PowerCut):
        save_examples(until(6), tmp_path, what="alice", every_s=0.0)
    for file in tmp_path.glob("*.bin"):
        file.write_bytes(file.read_bytes() + b"\xff" * 11)
    save_examples(BLOCKS[6:], tmp_path, kept=examples_kept(tmp_path, "alice"), what="alice")
    assert files(tmp_path) == whole


def test_files_shorter_than_was_said_are_not_gone_on_with(tmp_path):
    with pytest.raises(PowerCut):
        save_examples(until(6), tmp_path, what="alice")
    (tmp_path / "positions.bin").write_bytes(b"")
    assert examples_kept(tmp_path, "alice") == 0


@pytest.mark.parametrize("said", ["", "{", "[]", '{"k": "x", "lengths": 3}', '{"k": 1}'])
def test_a_damaged_note_is_none(tmp_path, said):
    with pytest.raises(PowerCut):
        save_examples(until(6), tmp_path, what="alice")
    (tmp_path / "partial.json").write_text(said)
    assert examples_kept(tmp_path, "alice") == 0


def test_an_attempt_at_something_else_is_not_gone_on_with(tmp_path, whole):
    with pytest.raises(PowerCut):
        save_examples(until(9), tmp_path, what="another text")
    assert examples_kept(tmp_path, "alice") == 0
    with pytest.raises(PowerCut):
        save_examples(until(0), tmp_path, what="alice")
    assert examples_kept(tmp_path, "another text") == 0  # its files have gone
    save_examples(BLOCKS, tmp_path, what="alice")
    assert files(tmp_path) == whole


def test_a_last_block_without_targets_does_not_change_the_width_of_the_others(tmp_path):
    save_examples([BLOCKS[1], BLOCKS[4]], tmp_path)
    assert json.loads((tmp_path / "index.json").read_text())["k"] == K
    np.testing.assert_array_equal(StoredExamples(tmp_path)[0].target_ids, BLOCKS[1].target_ids)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
def test_what_was_read_does_not_stay_in_memory(tmp_path):
    save_examples(BLOCKS, tmp_path)
    stored = StoredExamples(tmp_path)
    for mine, its in zip(stored, BLOCKS, strict=True):
        np.testing.assert_array_equal(mine.ids, its.ids)
    del mine
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("name", ["ids", "positions", "target_ids", "target_probs"])
def test_files_that_end_too_early_or_are_gone_are_said_to_be_damaged(tmp_path, name):
    save_examples(BLOCKS, tmp_path)
    stored, file = StoredExamples(tmp_path), tmp_path / f"{name}.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunDamagedError, match="incomplete"):
        StoredExamples(tmp_path)
    file.unlink()
    for read in (lambda: StoredExamples(tmp_path), lambda: stored[1]):
        with pytest.raises(RunDamagedError, match="cannot be read"):
            read()
