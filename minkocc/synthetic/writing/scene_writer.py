"""Writes one scene: measurements, labels, pseudo-labels and its share of the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from minkocc.structures.taxonomy import CAMERAS
from minkocc.synthetic.labels.occupancy import (
    Sight,
    SurfaceSamples,
    label_keyframe,
    look_around,
    sample_world,
)
from minkocc.synthetic.labels.pseudo_labels import clean, degrade
from minkocc.synthetic.meshes.mesh import FloatArray
from minkocc.synthetic.rig import LIDAR, SENSORS, SWEEP_INTERVAL, SWEEPS_PER_KEYFRAME
from minkocc.synthetic.sensing.sensors import CameraFrame, LidarSweep, sweep_lidar, take_picture
from minkocc.synthetic.sensing.tracer import Tracer
from minkocc.synthetic.town.road import ROAD
from minkocc.synthetic.town.world import KEYFRAME_INTERVAL, build_world, scene_duration, stream
from minkocc.synthetic.writing import files, tables

_EPOCH = 1_600_000_000_000_000
"""Timestamp of the first scene's first keyframe, microseconds."""
_SCENE_GAP = 1_000_000_000
_MAP_SCALE = 10
"""Pixels per metre of the map mask."""


@dataclass(frozen=True)
class SceneSpec:
    """What to write.

    Args:
        out: root of the data set.
        seed: of the data set.
        index: of the scene, 0-based.
        keyframes: how many.
        image_size: width and height in pixels.
        clean_pseudo_labels: whether pseudo-labels are the truth.
        shifted: whether the town is another one than what is trained on, see ``build_world``.
    """

    out: Path
    seed: int
    index: int
    keyframes: int
    image_size: tuple[int, int]
    clean_pseudo_labels: bool
    shifted: bool = False

    @property
    def name(self) -> str:
        """The scene's name."""
        return f"scene-{self.index + 1:04d}"

    @property
    def key(self) -> str:
        """What the scene's tokens are made from."""
        return f"{self.seed}/shifted/{self.name}" if self.shifted else f"{self.seed}/{self.name}"

    @property
    def log(self) -> str:
        """Name of the scene's log file."""
        return f"minkocc-{self.seed}-{self.index + 1:04d}"

    @property
    def epoch(self) -> int:
        """Timestamp of the first keyframe, microseconds."""
        return _EPOCH + self.index * _SCENE_GAP

    def sample(self, keyframe: int) -> str:
        """Token of a keyframe."""
        return tables.token(self.key, "sample", keyframe)


@dataclass
class _Output:
    """Collects one scene's records."""

    spec: SceneSpec
    records: tables.Tables = field(
        default_factory=lambda: {name: [] for name in tables.TABLE_NAMES}
    )

    def measurement(
        self, channel: str, micros: int, pose: FloatArray, keyframe: int, is_key: bool
    ) -> tuple[str, str]:
        """Record a measurement ``micros`` after the scene's start; its token and file name."""
        spec = self.spec
        stamp = spec.epoch + micros
        folder = "samples" if is_key else "sweeps"
        suffix = ".pcd.bin" if channel == LIDAR else ".jpg"
        path = f"{folder}/{channel}/{spec.log}__{channel}__{stamp}{suffix}"
        name = f"{channel}/{stamp}"
        self.records["ego_pose"].append(tables.ego_pose(spec.key, name, stamp, pose))
        record = tables.sample_data(
            spec.key, channel, name, spec.sample(keyframe), stamp, path, is_key, spec.image_size
        )
        self.records["sample_data"].append(record)
        return record["token"], path

    def link_measurements(self) -> None:
        """Chain the measurements of each sensor."""
        for channel in SENSORS:
            calibrated = tables.token(self.spec.key, "calibrated_sensor", channel)
            chain = [
                r for r in self.records["sample_data"] if r["calibrated_sensor_token"] == calibrated
            ]
            tables.link(sorted(chain, key=lambda record: record["timestamp"]))


class SceneWriter:
    """Draws one scene and writes it.

    Args:
        spec: what to write.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.world = build_world(spec.seed, spec.index, spec.keyframes, spec.shifted)
        self.tracer = Tracer(self.world)
        self.output = _Output(spec)

    def write(self) -> tables.Tables:
        """Write all files but the tables.

        Returns:
            The scene's records by table.
        """
        spec, times = self.spec, [k * KEYFRAME_INTERVAL for k in range(self.spec.keyframes)]
        sweeps = self._lidar()
        positions = np.stack([self._pose(time)[:3, 3] for time in times])
        samples = sample_world(self.world, positions, stream(spec.seed, spec.index, "surface"))
        sight = look_around(self.tracer, samples, times, sweeps)
        for keyframe, sweep in enumerate(sweeps):
            self._keyframe(keyframe, samples, sight)
            self._annotate(keyframe, sweep)
        self._finish()
        return self.output.records

    def _pose(self, time: float) -> FloatArray:
        return self.world.ego_pose(time)

    def _stream(self, name: str, number: int) -> np.random.Generator:
        return stream(self.spec.seed, self.spec.index, name, number)

    def _lidar(self) -> list[LidarSweep]:
        """Write every sweep; the keyframes' are returned."""
        kept = []
        last = round(scene_duration(self.spec.keyframes) / SWEEP_INTERVAL)
        for i in range(last + 1):
            time, is_key = i * SWEEP_INTERVAL, i % SWEEPS_PER_KEYFRAME == 0
            pose = self._pose(time)
            sweep = sweep_lidar(self.tracer, time, self._stream(LIDAR, i))
            following = -(-i // SWEEPS_PER_KEYFRAME)  # a sweep belongs to the next keyframe
            own, path = self.output.measurement(LIDAR, round(time * 1e6), pose, following, is_key)
            files.write_bytes(self.spec.out / path, sweep.points.tobytes())
            if is_key:
                kept.append(sweep)
                path = f"lidarseg/{tables.VERSION}/{own}_lidarseg.bin"
                files.write_bytes(self.spec.out / path, sweep.category.tobytes())
                self.output.records["lidarseg"].append(
                    {"token": own, "sample_data_token": own, "filename": path}
                )
        return kept

    def _keyframe(self, keyframe: int, samples: SurfaceSamples, sight: Sight) -> None:
        """Write the pictures, pseudo-labels and dense label of one keyframe."""
        camera_times: dict[str, float] = {}
        depths: dict[str, npt.NDArray[np.float32]] = {}
        mounts = self.world.rig.mounts
        # Cameras are rendered in the order of the moments they trigger.
        for channel in sorted(CAMERAS, key=lambda name: mounts[name].delay):
            rng = self._stream(channel, keyframe)
            delay = mounts[channel].delay + rng.uniform(-0.001, 0.001)
            micros = round((keyframe * KEYFRAME_INTERVAL + delay) * 1e6)
            time = micros / 1e6
            pose = self._pose(time)
            frame = take_picture(self.tracer, channel, time, self.spec.image_size, rng)
            _, path = self.output.measurement(channel, micros, pose, keyframe, True)
            files.write_jpeg(self.spec.out / path, frame.image)
            self._pseudo_label(channel, Path(path).stem, frame, rng)
            camera_times[channel], depths[channel] = time, frame.distance
        label = label_keyframe(
            self.world, samples, sight, keyframe * KEYFRAME_INTERVAL, camera_times, depths
        )
        token = self.spec.sample(keyframe)
        files.write_npz(
            self.spec.out / "gts" / self.spec.name / token / "labels.npz",
            semantics=label.semantics,
            mask_lidar=label.mask_lidar,
            mask_camera=label.mask_camera,
        )

    def _pseudo_label(
        self, channel: str, stem: str, frame: CameraFrame, rng: np.random.Generator
    ) -> None:
        ids, scores = clean(frame) if self.spec.clean_pseudo_labels else degrade(frame, rng)
        root = self.spec.out / "pseudo_labels"
        files.write_palette(root / "labels" / channel / f"{stem}.png", ids)
        files.write_grey(root / "confidence" / channel / f"{stem}.png", scores)

    def _annotate(self, keyframe: int, sweep: LidarSweep) -> None:
        """Record the boxes of the actors that the LiDAR hits."""
        time = keyframe * KEYFRAME_INTERVAL
        ego = self._pose(time)
        returns = np.bincount(sweep.owner + 1, minlength=2)
        for actor in self.world.actors:
            count = int(returns[actor.number + 1]) if actor.number + 1 < len(returns) else 0
            if count:
                pose = actor.pose(self.world.ground, time)
                distance = float(np.linalg.norm(pose[:2, 3] - ego[:2, 3]))
                sample, attribute = self.spec.sample(keyframe), actor.attribute_at(time)
                self.output.records["sample_annotation"].append(
                    tables.annotation(
                        self.spec.key, sample, actor, attribute, pose, count, distance
                    )
                )

    def _finish(self) -> None:
        """Record what belongs to the scene as a whole, and draw its map."""
        spec, records = self.spec, self.output.records
        self.output.link_measurements()
        records["calibrated_sensor"] = tables.calibration(spec.key, self.world.rig, spec.image_size)
        records["instance"] = tables.instances(
            spec.key, self.world.actors, records["sample_annotation"]
        )
        scene, log, card = (tables.token(spec.key, name) for name in ("scene", "log", "map"))
        samples = [
            {
                "token": spec.sample(k),
                "timestamp": spec.epoch + round(k * KEYFRAME_INTERVAL * 1e6),
                "scene_token": scene,
                "prev": "",
                "next": "",
            }
            for k in range(spec.keyframes)
        ]
        tables.link(samples)
        records["sample"] = samples
        records["scene"] = [
            {
                "token": scene,
                "log_token": log,
                "nbr_samples": spec.keyframes,
                "name": spec.name,
                "description": "Synthetic town, " + ", ".join(sorted(self._kinds())),
                "first_sample_token": spec.sample(0),
                "last_sample_token": spec.sample(spec.keyframes - 1),
            }
        ]
        records["log"] = [
            {
                "token": log,
                "logfile": spec.log,
                "vehicle": self.world.rig.vehicle,
                "date_captured": "2020-09-13",
                "location": "synthetic-town",
            }
        ]
        filename = f"maps/{card}.png"
        records["map"] = [
            {
                "category": "semantic_prior",
                "token": card,
                "filename": filename,
                "log_tokens": [log],
            }
        ]
        files.write_grey(spec.out / filename, self._map())

    def _kinds(self) -> set[str]:
        return {actor.category.split(".")[1] for actor in self.world.actors}

    def _map(self) -> npt.NDArray[np.uint8]:
        """Mask of the driveable surface, north up, 255 where one may drive."""
        width, height = (int(np.ceil(e * _MAP_SCALE)) for e in self.world.extent)
        image = Image.new("L", (width, height))
        draw = ImageDraw.Draw(image)
        ground = self.world.ground
        for quad in ground.corners()[ground.category == ROAD]:
            draw.polygon([(x * _MAP_SCALE, height - y * _MAP_SCALE) for x, y, _ in quad], 255)
        return np.asarray(image)
