"""Results as data frames, one row per run or one per episode, and as files for other tools."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metabench.errors import MissingError, UsageError
from metabench.planning import arguments
from metabench.planning.arguments import Converter, convert_arguments
from metabench.records.loading import load_records
from metabench.records.schema import Record
from metabench.reports.rows import rows_from_records, to_frame
from metabench.utils.atomic_files import replacing
from metabench.utils.text import csv_safe

if TYPE_CHECKING:
    import pandas as pd

Per = Literal["run", "episode"]
_OF_THE_RUN = ("key", "algorithm", "backbone", "dataset", "way", "shot", "seed", "episode_seed", "metric")
_CONVERTERS: Mapping[str, Converter] = {
    "sources": arguments.as_paths,
    "per": arguments.as_text,
    "home": arguments.optional(arguments.as_path_text),
}
_COSTS = ("seconds", "episodes_per_second", "peak_memory_mb", "parameters")


def load_results(*sources: str | Path, per: Per = "run", home: str | Path | None = None) -> pd.DataFrame:
    """Return measured results as a data frame.

    Args:
        sources: record files, folders of them (a leaderboard, too), or first digits of the keys of stored runs;
            without any, every run in the store.
        per: ``run`` gives one row for each run with what ``metabench run`` prints, and more; ``episode`` one row for
            each episode, numbered from 0, with its score and, of accuracies, its number of correct answers; what
            a score is made of has columns of its own.
        home: the store, as the option ``--home``.

    Only runs that succeeded are in it. Scores and half-widths are in the unit of the metric: percent for accuracy.

    Raises:
        UsageError: a source that is not there, or another word for `per`.
        NothingMeasured: no run that succeeded.
        RecordError: a file is no valid record.
    """
    asked = convert_arguments("load_results", {"sources": sources, "per": per, "home": home}, _CONVERTERS)
    if asked["per"] not in ("run", "episode"):
        raise UsageError(f"cannot load results per {per!r}: per must be 'run' or 'episode'.")
    records = load_records(*asked["sources"], home=asked["home"])
    return _runs(records) if per == "run" else _episodes(records)


def write_frame(frame: pd.DataFrame, path: Path, form: str) -> None:
    """Write a data frame as ``csv``, ``jsonl`` or ``parquet``, all or nothing.

    Raises:
        MissingError: Parquet needs pyarrow.
    """
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingError("cannot write Parquet: pyarrow not found. Run pip install 'metabench[parquet]'.")
    with replacing(path) as temporary:
        if form == "csv":
            _without_formulas(frame).to_csv(temporary, index=False, lineterminator="\n")
        elif form == "jsonl":
            frame.to_json(temporary, orient="records", lines=True, force_ascii=False, double_precision=12)
        else:
            frame.to_parquet(temporary, engine="pyarrow", index=False)


def _runs(records: Sequence[Record]) -> pd.DataFrame:
    """Return the frame of `rows.to_frame` with further columns from the records."""
    import pandas as pd

    frame = to_frame(rows_from_records(records)).drop(columns=["cached", "status"])
    more = [
        {
            "sd": record.summary.sd,
            "n_query": record.measured.same_queries,
            "episodes_digest": record.measured.episodes_digest,
            **{name: getattr(record.cost, name) for name in _COSTS},
            **{name: getattr(record.provenance, name) or "" for name in ("device", "metabench", "finished")},
        }
        for record in records
    ]
    extra = pd.DataFrame(more).astype({"sd": "float64", "n_query": "Int64", **dict.fromkeys(_COSTS, "float64")})
    return pd.concat([frame, extra], axis=1)


def _episodes(records: Sequence[Record]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    runs = to_frame(rows_from_records(records))[list(_OF_THE_RUN)]
    for name in ("key", "algorithm", "backbone", "dataset", "metric"):
        runs[name] = runs[name].astype("category")  # one word per run, not one per episode
    scores = [record.measured for record in records]
    lengths = np.array([len(score) for score in scores])
    frame = runs.loc[runs.index.repeat(lengths)].reset_index(drop=True)
    frame["episode"] = np.concatenate([np.arange(length) for length in lengths])
    frame["score"] = np.concatenate([score.per_episode.values for score in scores])
    counts = [score.correct if score.is_counted else (None,) * len(score) for score in scores]
    frame["correct"] = pd.array([count for row in counts for count in row], dtype="Int64")
    frame["n_query"] = np.concatenate([score.queries for score in scores])
    frame["accuracy"] = frame["score"].where(frame["correct"].notna())
    parts = [{part.metric.name: part.values for part in score.parts_per_episode} for score in scores]
    for name in dict.fromkeys(name for values in parts for name in values):
        columns = [values.get(name, np.full(length, np.nan)) for values, length in zip(parts, lengths, strict=True)]
        frame[name] = np.concatenate(columns)
    return frame


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts that a spreadsheet would run as a formula have a leading apostrophe."""
    import pandas as pd

    safe = frame.copy()
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            safe[name] = frame[name].cat.rename_categories(csv_safe)
        elif not pd.api.types.is_numeric_dtype(frame[name].dtype):
            safe[name] = frame[name].map(csv_safe)
    return safe
