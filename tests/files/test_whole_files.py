import os

from partnerface.files.whole_files import hidden_folder, move_into_place, remove_abandoned


def test_foreign_files_move_along_and_ours_are_replaced(tmp_path):
    root, folder = tmp_path / "set", hidden_folder(tmp_path / "set")
    for place, names in ((root, ("ours", "foreign", "both")), (folder, ("new", "both"))):
        place.mkdir()
        for name in names:
            (place / name).write_text(place.name)
    move_into_place(folder, root, {"ours"})
    assert {p.name: p.read_text() for p in root.iterdir()} == {
        "new": folder.name,
        "both": folder.name,
        "foreign": "set",
    }
    assert list(tmp_path.iterdir()) == [root]


def test_only_folders_of_dead_processes_are_removed(tmp_path):
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    kept = [".set.1.partial", f".set.{os.getpid()}.partial", ".set.notes.partial", ".other.7.partial"]
    for name in (*kept, f".set.{process}.partial"):
        (tmp_path / name).mkdir()
    remove_abandoned(tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
