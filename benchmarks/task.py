"""What a user's own file of tasks imports: `from benchmarks.task import Task, register` (see `--tasks-file`)."""

from benchmarks.tasks.task import Filled, Getter, Row, Task, register

__all__ = ["Filled", "Getter", "Row", "Task", "register"]
