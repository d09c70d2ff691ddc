"""The directory of the workers' sockets: private, short enough, and found again."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from gateway.workers.place import NAME_BYTES_MAX, PATH_BYTES_MAX, NoPlace, clear, place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory whose path leaves room."""
    temporary = tmp_path_factory.mktemp("t")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return temporary


@pytest.fixture
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def far(tmp_path: Path) -> Path:
    state = tmp_path / ("long" * 20)
    state.mkdir()
    return state


def test_it_lies_in_the_state_directory_for_its_owner_alone_and_begins_empty(near: Path) -> None:
    state = near
    (state / "bus").mkdir()
    (state / "bus" / "dead.sock").touch()
    directory = place(state)
    assert directory == state / "bus"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert list(directory.iterdir()) == []
    clear(state, directory)
    assert not directory.exists()


def test_where_the_path_is_too_long_it_is_a_private_temporary_one_that_is_found_again(
    tmp_path: Path, short: Path
) -> None:
    state = far(tmp_path)
    directory = place(state)
    assert directory.parent == short
    assert len(str(directory)) + 1 + NAME_BYTES_MAX <= PATH_BYTES_MAX
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert place(state) == directory
    clear(state, directory)
    assert not directory.exists()
    assert not (state / "bus.directory").exists()


def test_one_that_others_may_enter_is_not_taken_again(tmp_path: Path, short: Path) -> None:
    state = far(tmp_path)
    first = place(state)
    first.chmod(0o777)
    second = place(state)
    assert second != first
    first.rmdir()
    second.rmdir()
    second.symlink_to(tmp_path)
    assert place(state) not in (first, second)


def test_without_any_short_path_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = far(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(state))
    with pytest.raises(NoPlace, match=r"set TMPDIR or state\.directory"):
        place(state)


def test_without_room_it_says_what_to_do(near: Path) -> None:
    (near / "bus").write_text("in the way")
    with pytest.raises(NoPlace, match=r"set state\.directory to another"):
        place(near)
