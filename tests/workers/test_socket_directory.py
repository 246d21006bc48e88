"""The folder in which workers have their sockets: whom it is open to, and which folders are refused."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash.errors import InvalidOption
from flash.workers.socket_directory import LONGEST_PATH, socket_directory


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose path is short, as those of `tmp_path` are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def refusal(path: Path) -> str:
    """The sentence with which a folder is refused."""
    with pytest.raises(InvalidOption) as raised, socket_directory(str(path)):
        pass
    return str(raised.value)


def test_a_new_folder_is_open_to_its_owner_alone_and_is_removed() -> None:
    with socket_directory(None) as folder, socket_directory(None) as other:
        assert folder != other
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "1.sock").touch()
    assert not folder.exists()


def test_a_folder_that_is_named_is_made_and_stays(place: Path) -> None:
    for _ in range(2):
        with socket_directory(str(place / "sockets")) as folder:
            assert folder == place / "sockets"
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_sockets_that_a_killed_supervisor_has_left_are_removed(place: Path) -> None:
    (place / "3.sock").touch()
    (place / "notes").touch()
    with socket_directory(str(place)):
        assert not (place / "3.sock").exists()
        assert (place / "notes").exists()


def test_two_supervisors_cannot_have_one_folder(place: Path) -> None:
    with socket_directory(str(place)):
        assert "Another supervisor uses the socket directory" in refusal(place)


def test_a_folder_that_is_open_to_others_is_refused(place: Path) -> None:
    place.chmod(0o750)
    assert "chmod 700" in refusal(place)


def test_a_folder_of_another_user_is_refused(place: Path) -> None:
    theirs = Path("/")
    if os.geteuid() == 0:
        theirs = place
        os.chown(place, 65_534, 65_534)
    assert "belongs to another user" in refusal(theirs)


def test_what_is_no_folder_is_refused_also_a_link_to_one(place: Path) -> None:
    (place / "file").touch()
    (place / "link").symlink_to(place)
    for name in ("file", "link"):
        assert "is no directory" in refusal(place / name)
    assert "cannot be made" in refusal(place / "not" / "there")


def test_a_path_that_is_too_long_for_sockets_is_refused(place: Path) -> None:
    folder = place / ("x" * LONGEST_PATH)
    assert "too long" in refusal(folder)
