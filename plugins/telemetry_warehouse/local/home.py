"""The folder of a home: its owner alone may look into it."""

import os
import stat
from pathlib import Path

from telemetry_warehouse.errors import WarehouseError

MODE = 0o700
# Every home has one of these: from its stand-ins, from `make run`, or from a warehouse on Google Cloud. Names that
# somebody else's folder may have, such as logs, are no sign.
_OURS = ("ports.json", ".lock", "sample.json", "dbt/profiles.yml")


def make_home(home: Path) -> None:
    """Makes the folder where it is missing, with the mode that a home has, and gives a home that is there that mode.

    Raises WarehouseError for a folder that holds something else.
    """
    try:
        home.mkdir(mode=MODE, parents=True)
    except FileExistsError:
        if not home.is_dir():
            raise WarehouseError(f"WAREHOUSE_HOME is {home}, which is no folder; give it one of its own") from None
        if any(home.iterdir()) and not any((home / name).exists() for name in _OURS):
            raise WarehouseError(
                f"WAREHOUSE_HOME is {home}, which holds something else; give it a folder of its own"
            ) from None
    # Whatever the umask is, and where an earlier version made it.
    home.chmod(MODE)


def is_open_to(path: Path, user: str) -> bool:
    """Whether the user can come to `path` through the folders above it."""
    return all(_may_enter(folder, user) for folder in path.resolve().parents)


def _may_enter(folder: Path, user: str) -> bool:
    import pwd

    account, status = pwd.getpwnam(user), folder.stat()
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in os.getgrouplist(user, account.pw_gid):
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
