"""Plugins that import well and are wrong in one way each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metabench.api import AlgorithmSpec, BackboneSpec, hookimpl


class Plugin:
    """An object that serves as a plugin, as a module does."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        vars(self).update(hooks)


def _plugin(answer: Callable[[], Any]) -> Plugin:
    def metabench_algorithms() -> Any:
        return answer()

    return Plugin(metabench_algorithms=hookimpl(metabench_algorithms))


def _spec(kind: type = AlgorithmSpec, name: str = "toy-broken", **more: Any) -> Any:
    return kind(name=name, version=1, target="a:B", summary="", reference="", licence="", **more)


def _fail() -> None:
    raise ValueError("the hook\nfell over")


def metabench_algorithms() -> list[AlgorithmSpec]:
    return []


@hookimpl
def metabench_run_finished(record: Any, folder: Any) -> None:
    """Has an argument that the hook does not pass."""


RAISES = _plugin(_fail)
NO_ITERABLE = _plugin(lambda: 42)
NONE = _plugin(lambda: None)
NOT_MARKED = Plugin(metabench_algorithms=metabench_algorithms)
PATH_NAME = _plugin(lambda: [_spec(name="../up", trains=False)])
SAME_NAME = _plugin(lambda: [_spec(trains=False), _spec(trains=True)])
SIGNATURE = Plugin(metabench_run_finished=metabench_run_finished)
WRONG_SPEC = _plugin(lambda: [_spec(BackboneSpec)])
