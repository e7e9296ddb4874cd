"""The process that tests fork commands from."""

import os
import sys

from tests.support import Command


def say_what_is_imported(arguments: list[str]) -> None:
    print([name in sys.modules for name in arguments])


def fail(arguments: list[str]) -> None:
    sys.exit(arguments[0])


def test_a_command_finds_what_it_uses_imported():
    process = Command(say_what_is_imported, ["great_expectations", "dbt.cli.main"], os.environ)
    assert process.communicate() == ("[True, True]\n", "") and process.returncode == 0


def test_a_command_that_fails_says_so():
    process = Command(fail, ["no"], os.environ)
    assert process.communicate() == ("", "no\n") and process.returncode == 1
