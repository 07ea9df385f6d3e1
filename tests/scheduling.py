"""How the tests are spread over the processes of ``pytest -n 2 --dist loadfile``."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling

ONE_BY_ONE = "test_a_record_replays["
"""Tests that share nothing within a process and are long: each goes to whoever is free."""
BY_CLASS = ("test_builtins.py", "test_builtin_algorithms.py")
"""Files of classes that share nothing: each class goes to whoever is free."""
FIRST = "test_docs.py"
"""The file that takes longest, because its tests go on from each other: were it begun late, all would wait for it."""


class Spread(LoadFileScheduling):
    """A file goes to one process, which keeps its fixtures, but the longest ones are taken apart.

    What has most tests begins early, so single tests come last and fill up.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if test.startswith(ONE_BY_ONE):
            return nodeid
        if file.endswith(BY_CLASS):
            return nodeid.rpartition("::")[0]
        return file

    def _assign_work_unit(self, node: Any) -> None:
        for scope in self.workqueue:
            if scope.endswith(FIRST):
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)

    def remove_node(self, node: Any) -> str | None:
        """Give what a process left to others, but not the test that it crashed in: each would crash in it again."""
        workload = self.assigned_work.pop(node)
        left = [(unit, test) for unit in workload.values() for test, is_done in unit.items() if not is_done]
        if not left:
            return None
        unit, crashed = left[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in workload.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed


def make_scheduler(config: Any, log: Any) -> Spread | None:
    """Return the scheduler for ``--dist loadfile``; None where another one was asked for."""
    return Spread(config, log) if config.getvalue("dist") == "loadfile" else None
