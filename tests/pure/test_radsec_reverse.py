"""The directory through which a kicker reaches NASes over their own connections: whose sockets are believed (docs/security.md)."""

from pathlib import Path

import pytest

from agents.radsec_reverse import ReverseDoor
from agents.udp import CannotListenError
from agents.ways.radsec_line import RadsecError, connect_reverse


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One that is there already; the name is short, since a socket's path is."""
    made = tmp_path / "r"
    made.mkdir(mode=0o755)
    return made


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
async def test_a_directory_that_others_may_write_is_none_for_sockets(directory: Path, mode: int) -> None:
    """5.7: whoever puts a socket there would be told what a NAS is asked, and could say that it was done."""
    directory.chmod(mode)  # noqa: ASYNC240 - a small local directory, here and below
    with pytest.raises(CannotListenError, match=r"others may write there\. Give .* a directory that this user alone may write"):
        ReverseDoor(str(directory), list)
    with pytest.raises(RadsecError, match="are not believed: others may write there"):
        await connect_reverse(str(directory), "hut")
    assert not any(directory.iterdir())  # noqa: ASYNC240


async def test_a_directory_of_ones_own_is_taken_and_made_where_there_is_none(directory: Path) -> None:
    """5.7: for this user alone, as its sockets are."""
    for place in (directory, directory.parent / "new"):
        with pytest.raises(RadsecError, match="no connection of hut stands"):
            await connect_reverse(str(place), "hut")
        door = ReverseDoor(str(place), list)
        assert [path.stat().st_mode & 0o777 for path in place.iterdir()] == [0o600]
        door.close()
        assert list(place.iterdir()) == []
    assert (directory.parent / "new").stat().st_mode & 0o777 == 0o700
