"""`--bids-filter-file`: pybids filters for each kind of scan, as fMRIPrep and its family read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids.layout import Query

from epvs_bids.bids.index import IMAGES
from epvs_bids.errors import BadDataError
from epvs_bids.files import read_json

Filters = Mapping[str, Mapping[str, Any]]

QUERIES: Filters = {
    "pdw": {"datatype": "anat", "suffix": "PDw", "extension": list(IMAGES)},
    "t2w": {"datatype": "anat", "suffix": "T2w", "extension": list(IMAGES)},
    "pdt2": {"datatype": "anat", "suffix": "PDT2", "extension": list(IMAGES)},
    "t1w": {"datatype": "anat", "suffix": "T1w", "extension": list(IMAGES)},
}
"""What is asked of pybids for each kind of scan where no filter file says more."""


def read_filters(path: Path | None) -> Filters:
    """Return the queries, with those of a filter file laid over them.

    Parameters
    ----------
    path
        JSON such as `{"pdw": {"acquisition": "hires", "run": 1}, "t1w": {"session": null}}`. `null` (or
        `"Query.NONE"`) asks that the entity is absent, `"*"` (or `"Query.ANY"`) that it is there with any
        value, `"Query.OPTIONAL"` lifts a condition. Keys for kinds that this app does not use (`bold` …) are
        passed over. None: the queries as they are.

    Raises
    ------
    MissingInputError, BadDataError
        When the file is not there, or is no such JSON.
    """
    queries = {kind: dict(query) for kind, query in QUERIES.items()}
    if path is None:
        return queries
    for kind, conditions in read_json(path).items():
        if not isinstance(conditions, dict):
            raise BadDataError(f"{path}: {kind!r} is no object of pybids filters.")
        for name, value in conditions.items():
            if not isinstance(value, (str, int, float, bool, list, type(None))):
                raise BadDataError(f"{path}: {kind}.{name} has a value that is no text, number or list.")
            if kind in queries:
                queries[kind][name] = _query_value(path, kind, name, value)
    return queries


def _query_value(path: Path, kind: str, name: str, value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_query_value(path, kind, name, item) for item in value]
    if value is None:
        return Query.NONE
    if value == "*":
        return Query.ANY
    if isinstance(value, str) and value.startswith("Query."):
        try:
            return Query[value.removeprefix("Query.")]
        except KeyError:
            known = ", ".join(f"Query.{member.name}" for member in Query)
            raise BadDataError(f"{path}: {kind}.{name} is {value!r}; pybids knows {known}.") from None
    return value
