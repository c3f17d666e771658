"""Whether nuScenes tables hold together: references, chains and the rhythm of the sensors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from minkocc.structures.taxonomy import CAMERAS
from minkocc.synthetic.rig import LIDAR, SENSORS, SWEEP_INTERVAL
from minkocc.synthetic.town.world import KEYFRAME_INTERVAL
from minkocc.synthetic.writing.tables import Record, Tables

# Field -> table of the token or tokens in it.
_REFERENCES: dict[str, dict[str, str]] = {
    "calibrated_sensor": {"sensor_token": "sensor"},
    "instance": {
        "category_token": "category",
        "first_annotation_token": "sample_annotation",
        "last_annotation_token": "sample_annotation",
    },
    "lidarseg": {"sample_data_token": "sample_data"},
    "map": {"log_tokens": "log"},
    "sample": {"scene_token": "scene", "prev": "sample", "next": "sample"},
    "sample_annotation": {
        "sample_token": "sample",
        "instance_token": "instance",
        "visibility_token": "visibility",
        "attribute_tokens": "attribute",
        "prev": "sample_annotation",
        "next": "sample_annotation",
    },
    "sample_data": {
        "sample_token": "sample",
        "ego_pose_token": "ego_pose",
        "calibrated_sensor_token": "calibrated_sensor",
        "prev": "sample_data",
        "next": "sample_data",
    },
    "scene": {
        "log_token": "log",
        "first_sample_token": "sample",
        "last_sample_token": "sample",
    },
}
# What the records of one chain have in common.
_CHAINS = {
    "sample": "scene_token",
    "sample_data": "calibrated_sensor_token",
    "sample_annotation": "instance_token",
}
_CAMERA_REACH = 0.05  # seconds between a camera and its keyframe, at most
_JITTER = 0.05  # of an interval; a real sensor's clock is not exact either


def table_faults(tables: Tables) -> list[str]:
    """What is wrong with the tables, a sentence each.

    References come first and alone: what follows them would only fail over the same token.

    Args:
        tables: all of them, by name.
    """
    try:
        return list(_reference_faults(tables)) or [
            *_chain_faults(tables),
            *_end_faults(tables),
            *_lidarseg_faults(tables),
            *_time_faults(tables),
        ]
    except (KeyError, TypeError) as error:
        return [f"a record lacks a field or has one of the wrong type ({error!r})"]


def _reference_faults(tables: Tables) -> Iterator[str]:
    """Tokens that are not unique, and tokens that name nothing."""
    known = {name: Counter(r["token"] for r in records) for name, records in tables.items()}
    for name, tokens in known.items():
        for token, count in tokens.items():
            if count > 1:
                yield f"{name} has {count} records with token {token}"
    for name, fields in _REFERENCES.items():
        for record in tables[name]:
            for field, target in fields.items():
                if field in ("prev", "next") and record[field] == "":
                    continue
                held = record[field]
                for token in held if isinstance(held, list) else [held]:
                    if token not in known[target]:
                        yield f"{name} {record['token']}: {field} {token!r} is in no {target}"


def _chain_faults(tables: Tables) -> Iterator[str]:
    """``prev`` and ``next`` that do not lead through a chain in the order of time."""
    moment = {r["token"]: r["timestamp"] for r in tables["sample"]}
    for name, field in _CHAINS.items():
        groups = _grouped(tables[name], field)
        for chain in groups.values():
            chain.sort(key=lambda r: r.get("timestamp") or moment[r["sample_token"]])
            tokens = ["", *(r["token"] for r in chain), ""]
            for record, before, after in zip(chain, tokens, tokens[2:]):
                for side, expected in (("prev", before), ("next", after)):
                    if record[side] != expected:
                        yield (
                            f"{name} {record['token']}: {side} is {record[side]!r}, "
                            f"expected its neighbour in time, {expected!r}"
                        )


def _end_faults(tables: Tables) -> Iterator[str]:
    """Scenes and instances that miscount their chains or misname the ends."""
    samples = _grouped(tables["sample"], "scene_token")
    annotations = _grouped(tables["sample_annotation"], "instance_token")
    ends = [("scene", r, samples[r["token"]], "sample", "nbr_samples") for r in tables["scene"]]
    ends += [
        ("instance", r, annotations[r["token"]], "annotation", "nbr_annotations")
        for r in tables["instance"]
    ]
    for name, record, chain, member, number in ends:
        if record[number] != len(chain):
            yield f"{name} {record['token']}: {number} is {record[number]}, found {len(chain)}"
        for end, link in (("first", "prev"), ("last", "next")):
            expected = {r["token"] for r in chain if r[link] == ""}
            if {record[f"{end}_{member}_token"]} != expected:
                yield f"{name} {record['token']}: {end}_{member}_token is not the chain's {end}"


def _lidarseg_faults(tables: Tables) -> Iterator[str]:
    """LiDAR keyframes without point labels under their own token, as the devkit looks them up."""
    labelled = {r["token"] for r in tables["lidarseg"]}
    channels = _channels(tables)
    for record in tables["sample_data"]:
        is_lidar = channels[record["calibrated_sensor_token"]] == LIDAR
        if is_lidar and record["is_key_frame"] and record["token"] not in labelled:
            yield f"sample_data {record['token']}: a keyframe of {LIDAR} without lidarseg"


def _time_faults(tables: Tables) -> Iterator[str]:
    """Keyframes not at 2 Hz, sweeps not at 20 Hz, cameras away from their keyframe."""
    for chain in _grouped(tables["sample"], "scene_token").values():
        yield from _rhythm_faults("keyframes", chain, KEYFRAME_INTERVAL)
    poses = {r["token"]: r["timestamp"] for r in tables["ego_pose"]}
    moment = {r["token"]: r["timestamp"] for r in tables["sample"]}
    channels = _channels(tables)
    seen = defaultdict(set)
    for calibrated, chain in _grouped(tables["sample_data"], "calibrated_sensor_token").items():
        channel = channels[calibrated]
        if channel == LIDAR:
            yield from _rhythm_faults(f"sweeps of {LIDAR}", chain, SWEEP_INTERVAL)
        for record in chain:
            if poses[record["ego_pose_token"]] != record["timestamp"]:
                yield f"sample_data {record['token']}: its ego pose is of another time"
            if not record["is_key_frame"]:
                continue
            seen[record["sample_token"]].add(channel)
            gap = abs(record["timestamp"] - moment[record["sample_token"]]) / 1e6
            if gap > (_CAMERA_REACH if channel in CAMERAS else 0):
                yield (
                    f"sample_data {record['token']}: {channel} is {1e3 * gap:.1f} ms from its "
                    f"keyframe, expected at most {1e3 * _CAMERA_REACH:.0f} ms, 0 for {LIDAR}"
                )
    for sample in moment:
        missing = sorted(set(SENSORS) - seen[sample])
        if missing:
            yield f"sample {sample}: no keyframe of {', '.join(missing)}"


def _rhythm_faults(what: str, chain: list[Record], interval: float) -> Iterator[str]:
    stamps = sorted(r["timestamp"] for r in chain)
    for before, after in pairwise(stamps):
        gap = (after - before) / 1e6
        if abs(gap - interval) > _JITTER * interval:
            yield f"{what}: {gap:.3f} s from {before} to {after}, expected {interval} s"


def _channels(tables: Tables) -> dict[str, str]:
    """Channel by token of the calibrated sensor."""
    sensors = {r["token"]: r["channel"] for r in tables["sensor"]}
    return {r["token"]: sensors[r["sensor_token"]] for r in tables["calibrated_sensor"]}


def _grouped(records: Iterable[Record], field: str) -> defaultdict[str, list[Record]]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record[field]].append(record)
    return groups
