"""Export, import and trash: nothing lost on the way, nothing believed that comes in."""

import io
import json
import stat
import zipfile

import pytest
from runs_for_tests import make_run, workspace  # noqa: F401

from unlearning.errors import RunBusyError, RunDamagedError, RunError, RunNotFoundError
from unlearning.runs import archive, queue, store
from unlearning.runs.durable import write_json
from unlearning.runs.events import EventWriter, read
from unlearning.runs.locks import WORKER_LOCK, take
from unlearning.runs.store import State


def finished(workspace, name="finished 🦊"):
    """A run with everything that a run can hold."""
    folder = make_run(workspace, name=name)
    with EventWriter(folder) as events:
        events("note", message="Started.", attempt=1)
    for stage in ("reinforce", "finetune"):
        (folder / "stages" / stage / "checkpoints" / "step-000005").mkdir(parents=True)
        (folder / "stages" / stage / "checkpoints" / "step-000005" / "optimizer.pt").write_bytes(b"moments")
        write_json(folder / "stages" / stage / "stage.json", {"steps": 5})
    (folder / "stages" / "finetune" / "labels.bin").write_bytes(bytes(range(256)) * 10)
    for file in ("worker.lock", "reserve", "worker.json"):
        (folder / file).write_text("{}")
    write_json(folder / "summary.json", {"state": "succeeded"})
    write_json(folder / "result.json", {"state": "succeeded"})
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zip_of(entries, compression=zipfile.ZIP_DEFLATED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    target.seek(0)
    return target


def good_entries(workspace):
    return list(files(make_run(workspace)).items())


@pytest.mark.parametrize("checkpoints", [False, True])
def test_there_and_back(workspace, tmp_path, checkpoints):
    folder = finished(workspace)
    archive.export_run(folder, tmp_path / "run.zip", checkpoints)
    run = archive.import_run(tmp_path / "other workspace", tmp_path / "run.zip")
    assert run.name == "finished 🦊" and run.number == 1 and run.state is State.SUCCEEDED and run.id != folder.name
    before, after = files(folder), files(run.folder)
    lost = {name for name in before if name not in after}
    assert {name for name in lost if "checkpoints" not in name} == {"worker.lock", "reserve", "worker.json"}
    assert checkpoints != any("checkpoints" in name for name in lost)
    assert all(before[name] == content for name, content in after.items() if name != "meta.json")
    assert read(run.folder).events == read(folder).events


def test_a_run_at_work_is_not_exported_nor_deleted(workspace, tmp_path):
    folder = make_run(workspace)
    with take(folder / WORKER_LOCK):
        with pytest.raises(RunBusyError):
            archive.export_run(folder, tmp_path / "run.zip")
        with pytest.raises(RunBusyError):
            archive.move_to_trash(folder)
    queue.enqueue(folder)
    with pytest.raises(RunBusyError, match="queued"):
        archive.move_to_trash(folder)
    assert not (tmp_path / "run.zip").exists()


def test_a_folder_that_somebody_zipped_by_hand(workspace):
    entries = [(f"abcd1234/{name}", content) for name, content in good_entries(workspace)]
    assert archive.import_run(workspace, zip_of(entries)).problem == ""


def test_a_queued_export_does_not_start_by_itself(workspace):
    entries = [*good_entries(workspace), ("queued", '{"ticket": 1}'), ("cancel", "")]
    assert archive.import_run(workspace, zip_of(entries)).state is State.DRAFT


HOSTILE = [
    "../evil", "stages/../../evil", "/etc/evil", "\\\\server\\evil", "C:/evil", "a/./../b", "stages/.ssh/key",
    "a\\..\\b", "nul\x01", "x" * 300, ".hidden", "stages//../..//evil",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_path_leaves_the_run(workspace, name):
    entries = good_entries(workspace)
    before = set(workspace.parent.rglob("*"))
    with pytest.raises(RunDamagedError, match="may not be unpacked"):
        archive.import_run(workspace, zip_of([*entries, (name, "x")]))
    new = set(workspace.parent.rglob("*")) - before
    assert new <= {workspace / "counter.json"}


def test_links_are_refused(workspace):
    packed = zip_of(good_entries(workspace))
    with zipfile.ZipFile(packed, "a") as target:
        link = zipfile.ZipInfo("retain.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    with pytest.raises(RunDamagedError, match=r"retain\.txt"):
        archive.import_run(workspace, packed)


def test_bombs_are_refused_while_they_unpack(workspace):
    entries = good_entries(workspace)
    with pytest.raises(RunDamagedError, match="blows up"):
        archive.import_run(workspace, zip_of([*entries, ("retain.txt", bytes(100 << 20))]))
    with pytest.raises(RunDamagedError, match="too large"):
        archive.import_run(workspace, zip_of([*entries, ("retain.txt", "x" * 5000)]), max_bytes=6000)
    with pytest.raises(RunDamagedError, match="files"):
        archive.import_run(workspace, zip_of([*entries, *((f"stages/{n}", "") for n in range(20))]), max_files=10)
    assert len(store.run_folders(workspace)) == 1 and not list((workspace / "runs").glob(".new*"))


def test_a_zip_that_lies_about_its_size(workspace):
    packed = zip_of([*good_entries(workspace), ("retain.txt", "y" * 50_000)]).getvalue()
    honest, lie = (50_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert packed.count(honest) == 2
    with pytest.raises(RunDamagedError):
        archive.import_run(workspace, io.BytesIO(packed.replace(honest, lie)))
    assert len(store.run_folders(workspace)) == 1


def test_what_could_run_code_is_left_out(workspace):
    entries = [
        *good_entries(workspace), ("stages/a/x.pkl", b"cos\nsystem\n"), ("taught/adapter_model.bin", b"x"),
        ("stages/label/labels/ids.bin", b"1234"), ("stages/finetune/unlearned/adapter_model.safetensors", b"5"),
    ]  # fmt: skip
    names = set(files(archive.import_run(workspace, zip_of(entries)).folder))
    assert not names & {"stages/a/x.pkl", "taught/adapter_model.bin"}
    assert names >= {"stages/label/labels/ids.bin", "stages/finetune/unlearned/adapter_model.safetensors"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"x" * 1000])
def test_no_zip_at_all(workspace, tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(RunDamagedError, match="no zip"):
        archive.import_run(workspace, tmp_path / "x.zip")
    with pytest.raises(RunDamagedError, match="There is no file"):
        archive.import_run(workspace, tmp_path / "absent.zip")


def test_a_zip_cut_short(workspace, tmp_path):
    archive.export_run(finished(workspace), tmp_path / "run.zip")
    whole = (tmp_path / "run.zip").read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 5):
        with pytest.raises(RunDamagedError):
            archive.import_run(workspace, io.BytesIO(whole[:length]))
    for place in range(100, len(whole) - 100, 97):  # a bit that fell over anywhere
        broken = bytearray(whole)
        broken[place] ^= 0x10
        try:
            run = archive.import_run(workspace, io.BytesIO(bytes(broken)))
        except RunDamagedError:
            continue
        assert run.problem == ""


def test_a_zip_without_a_run_or_from_a_newer_version(workspace):
    with pytest.raises(RunDamagedError, match=r"no config\.json"):
        archive.import_run(workspace, zip_of([("readme.txt", "x")]))
    entries = dict(good_entries(workspace))
    entries["config.json"] = json.dumps(json.loads(entries["config.json"]) | {"format": 99}).encode()
    with pytest.raises(RunDamagedError, match="format 99") as refused:
        archive.import_run(workspace, zip_of(entries.items()))
    assert ".new-" not in str(refused.value) and "Update" in refused.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"of": "../../x"}, {"of": "/etc"}, {"of": "."}, {"of": ["abcd1234"]}, {"of": ""}, {"of": "x" * 300},
        {"parts": ["familiarity", "../../../evil"]}, {"parts": "/evil"}, {"budget": {"stages": {"../../x": {}}}},
        {"inputs": {"text.txt": "", "../../counter.json": ""}}, {"inputs": {"/etc/passwd": ""}},
        {"inputs": {"taught\\..\\..\\x": ""}}, {"inputs": {"C:x": ""}}, {"inputs": ["../x"]},
    ],
    ids=str,
)  # fmt: skip
def test_no_entry_of_a_config_leaves_the_run(workspace, change):
    entries = dict(good_entries(workspace))
    entries["config.json"] = json.dumps(json.loads(entries["config.json"]) | change).encode()
    (entry,) = change
    with pytest.raises(RunDamagedError, match=f"in '{entry}.*', which may lead out of the run") as refused:
        archive.import_run(workspace, zip_of(entries.items()))
    assert ".new-" not in str(refused.value)
    assert len(store.run_folders(workspace)) == 1


def test_trash_and_back(workspace):
    folder, other = finished(workspace, "one"), finished(workspace, "two")
    content = files(folder)
    archive.move_to_trash(folder), archive.move_to_trash(other)
    assert store.list_runs(workspace) == []
    assert [run.name for run in archive.list_trash(workspace)] == ["two", "one"]
    assert archive.restore(workspace, folder.name) == folder and files(folder) == content
    with pytest.raises(RunNotFoundError):
        archive.restore(workspace, "../runs")
    assert archive.empty_trash(workspace) > 2560
    assert archive.list_trash(workspace) == [] and store.load(folder).state is State.SUCCEEDED
    assert archive.empty_trash(workspace) == 0


def test_restore_over_a_run_of_that_id_is_refused(workspace):
    folder = finished(workspace)
    archive.move_to_trash(folder)
    folder.mkdir()
    with pytest.raises(RunError, match="already"):
        archive.restore(workspace, folder.name)
