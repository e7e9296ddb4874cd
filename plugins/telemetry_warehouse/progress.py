"""A run over many tables in which one that fails stops what reads it and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from telemetry_warehouse import runs, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import NotAllBuilt, NotRunning, WarehouseError, one_line
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step

# Table → its days that are not built → the table and day that must be mended first.
Unbuilt = Mapping[str, Mapping[date, str]]


def waits_for(step: Step, start: date, end: date, unbuilt: Unbuilt) -> str | None:
    """What must be mended before a stage can be built: the cause of the first of its days that are missing where it
    reads; None for nothing."""
    for table, (first, last) in sorted(runs.days_read(step, start, end).items()):
        of_table = unbuilt.get(table, {})
        if missing := min((day for day in of_table if first <= day <= last), default=None):
            return of_table[missing]
    return None


@dataclass
class Progress:
    """What a run has built so far, and what it could not.

    again: what runs it again, as people are told of a stage that failed; unbuilt: as in `waits_for`, what stages of
    this run must wait for; left_as_published: causes among these that cannot be mended, so that nothing waits for them;
    failed: what went wrong, a line each; waiting: tables that wait, and for what.
    """

    warehouse: Warehouse
    run_id: str
    say: Callable[[str], None]
    again: str
    unbuilt: dict[str, dict[date, str]] = field(default_factory=dict)
    left_as_published: set[str] = field(default_factory=set)
    outcomes: list[stages.Outcome] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None

    def build(self, step: Step, start: date, end: date) -> bool:
        """Runs a stage and whether it was published; one that waits is said and not run.

        Raises NotRunning, where every other stage would fail as well.
        """
        cause = waits_for(step, start, end, self.unbuilt)
        if cause:
            self.wait(step, start, end, cause)
            return False
        try:
            self.outcomes.append(stages.run(self.warehouse, step, start, end, self.run_id, self.say, self.again))
        except NotRunning:
            raise
        except Exception as error:
            # Whatever it was, tables that do not read this one can be built.
            self.fail(step, start, end, error)
            return False
        return True

    def wait(self, step: Step, start: date, end: date, cause: str) -> None:
        """Notes and says that a stage waits for `cause`."""
        self.say(f"{step.table} {runs.text(start, end)} waits for {cause}")
        self.waiting[step.table] = cause
        self.leave(step, start, end, cause)

    def fail(self, step: Step, start: date, end: date, error: Exception) -> None:
        """Notes and says that a stage failed; what reads it will wait."""
        line = one_line(error)
        if not isinstance(error, WarehouseError):
            line = f"{type(error).__name__}: {line}"
        if step.table not in line:
            line = f"{step.table} {runs.text(start, end)}: {line}"
        self.say(f"failed: {line}")
        self.failed.append(line)
        self.error = self.error or error
        self.leave(step, start, end, f"{step.table} {runs.text(start, end)}")

    def leave(self, step: Step, start: date, end: date, cause: str) -> None:
        """Notes that stages which read these days must wait for `cause`."""
        self.unbuilt.setdefault(step.table, {}).update(dict.fromkeys(days_of(start, end), cause))

    def add(self, earlier: "Progress") -> None:
        """Takes over what an earlier part of the run failed at, and what waits for it."""
        self.failed = earlier.failed + self.failed
        self.waiting = earlier.waiting | self.waiting
        self.error = earlier.error or self.error

    def finish(self, what: str) -> list[stages.Outcome]:
        """The outcomes; raises NotAllBuilt, naming every table that failed or waits, where there is one."""
        if not self.failed and not self.waiting:
            return self.outcomes
        waiting = ", ".join(f"{table} (for {cause})" for table, cause in self.waiting.items())
        parts = [f"waiting: {waiting}"] if waiting else []
        parts += [f"failed: {'; '.join(self.failed)}"] if self.failed else []
        raise NotAllBuilt(f"not all of {what} is built; {'; '.join(parts)}") from self.error
