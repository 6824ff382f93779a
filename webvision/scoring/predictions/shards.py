"""Several prediction files, each over a part of one list, made into the file of the whole list."""

from webvision.errors import DataError
from webvision.scoring.predictions.file import CHUNK, PredictionWriter, open_predictions


def merge_shards(paths, out):
    """Join the shards `paths` (in any order) into `out`; returns the number of rows.

    The header of a shard says {"shard": {"start": s, "stop": e}}: rows s to e-1 of its list. All shards must agree
    in the rest of the header and cover the list without gap or overlap. The result has the bytes that one run over
    the whole list would have written.
    """
    shards = sorted((open_predictions(path) for path in paths), key=_start)
    header = {key: value for key, value in shards[0].header.items() if key != "shard"}
    position = 0
    for shard in shards:
        rest = {key: value for key, value in shard.header.items() if key != "shard"}
        if different := [key for key in {**header, **rest} if header.get(key) != rest.get(key)]:
            raise DataError(
                f"{shard.path}: header: {', '.join(different)} differ from {shards[0].path}; these are not parts "
                "of one evaluation"
            )
        if _start(shard) != position:
            raise DataError(
                f"{shard.path}: starts at row {_start(shard)} of the list, but the shards before it end at "
                f"row {position}"
            )
        position = shard.header["shard"]["stop"]
    total = header.get("list", {}).get("rows")
    if total is not None and position != total:
        raise DataError(f"{shards[-1].path}: the shards end at row {position} of {total}; one is missing")
    with PredictionWriter(out, header) as writer:
        for shard in shards:
            _copy(shard, writer)
    return writer.rows


def _start(shard):
    if "shard" not in shard.header:
        raise DataError(f'{shard.path}: header: no "shard"; this file is already a whole list\'s')
    return shard.header["shard"]["start"]


def _copy(shard, writer):
    arrays = shard.arrays()
    matrix = shard.all_scores()
    for start in range(0, len(arrays.names), CHUNK):
        part = slice(start, start + CHUNK)
        writer.write(
            arrays.names[part],
            None if arrays.labels is None else arrays.labels[part],
            arrays.valid_ids()[part],
            arrays.scores[part],
            arrays.problems[part],
            all_scores=None if matrix is None else matrix[part],
        )
