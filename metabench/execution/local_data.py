"""Adapting planned runs to the user's own files, which decide on training classes and the images of a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from metabench.data import ClassSplit
from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.execution.run_data import measured_split
from metabench.execution.session import Session
from metabench.planning.compatibility import refuse_missing_split, refuse_untrained
from metabench.planning.planner import distinct
from metabench.planning.run_spec import Planned, RejectedRun, RunSpec
from metabench.registry.registry import load_target
from metabench.utils.text import pluralise


def adapt_to_data(runs: Sequence[Planned], session: Session, query_given: bool) -> list[Planned]:
    """Return the runs as local datasets allow them, and other runs unchanged.

    Without classes to train on, a pre-trained backbone is used as it is. Where a class has too few images, fewer
    queries are asked, unless the user gave their number. Both are noted on the console. A run whose algorithm must be
    trained, or with more shots than a class has images to spare, is rejected.
    """
    notes: dict[str, None] = {}
    adapted = [run if isinstance(run, RejectedRun) else _adapted(run, session, query_given, notes) for run in runs]
    for note in notes:
        session.console.note(note)
    return distinct(adapted)  # what is not trained has no seeds to differ in


def _adapted(run: RunSpec, session: Session, query_given: bool, notes: dict[str, None]) -> Planned:
    try:
        if run.trained_on.spec.local or run.support:
            run = _without_training(run, session, notes)
        if (other := run.beside or run.support) and other not in session.loader.splits(run.dataset):
            refuse_missing_split(run.protocol.spec, run.dataset.name)
        if run.support:
            run = _with_all_classes(run, session)
        if run.dataset.spec.local and not query_given:
            run = _with_fewer_queries(run, session, notes)
    except MissingError:
        return run  # reported where the data are needed
    except MetabenchError as error:
        return RejectedRun(run, error)
    return run


def _without_training(run: RunSpec, session: Session, notes: dict[str, None]) -> RunSpec:
    if not run.stages or (not run.support and "train" in session.loader.splits(run.trained_on)):
        return run
    refuse_untrained(run.algorithm.spec, run.backbone.spec, run.trained_on.name)
    why = f"{run.trained_on.name} has no classes to train {run.algorithm.name} on"
    notes[f"{why}: {run.backbone.name} is used as it is"] = None
    return dataclasses.replace(run, stages=(), seed=0, source=None, training_protocol=None)


def _with_all_classes(run: RunSpec, session: Session) -> RunSpec:
    """Return a run whose ways are all classes of its split, where its protocol asks for all."""
    params = run.protocol.params
    if params.get("way") != 0:
        return run
    way = len(session.loader.split(run.dataset, run.split).names)
    return dataclasses.replace(run, protocol=dataclasses.replace(run.protocol, params={**params, "way": way}))


def _with_fewer_queries(run: RunSpec, session: Session, notes: dict[str, None]) -> RunSpec:
    params = run.protocol.params
    shot, query = params.get("shot"), params.get("query")
    if not isinstance(shot, int) or not isinstance(query, int):
        return run
    split = measured_split(run, session.loader)
    smallest = int(np.argmin(split.counts))
    name, images = split.names[smallest], int(split.counts[smallest])
    if images <= shot:
        most = f"use --shots {images - 1} or fewer, " if images > 1 else ""
        raise UsageError(
            f"{run.dataset.name}: class '{name}' has {pluralise(images, 'image')}, and {pluralise(shot, 'shot')} need "
            f"{shot + 1}, one of them as a query; {most}add images, or leave small classes out with "
            f"--set data.min_images={shot + 1}"
        )
    room = _largest_query(run, query, split)
    if room == query:
        return run
    why = f"since class '{name}' has {pluralise(images, 'image')}"
    notes[f"{run.dataset.name}: {pluralise(room, 'query')} of each class at {shot}-shot instead of {query}, {why}"] = (
        None
    )
    protocol = dataclasses.replace(run.protocol, params={**params, "query": room})
    return dataclasses.replace(run, protocol=protocol)


def _largest_query(run: RunSpec, most: int, split: ClassSplit) -> int:
    """Return the largest number of queries, at most `most`, for which the protocol can draw episodes.

    Raises:
        UsageError: there is no such number; the error is the one at `most`.
    """
    refused: UsageError | None = None
    for query in range(most, 0, -1):
        try:
            load_target(run.protocol.spec)(**{**run.protocol.params, "query": query}).check(split)
        except UsageError as problem:
            refused = refused or problem
        else:
            return query
    assert refused is not None
    raise refused
