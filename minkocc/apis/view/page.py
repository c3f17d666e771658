"""The page in the browser: the one module that knows viser."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import viser
import viser.transforms
from numpy.typing import NDArray

from minkocc.apis.view.choice import NOTHING, Choice, Offered
from minkocc.apis.view.legend import Entry
from minkocc.structures.errors import UserError
from minkocc.visualization.voxel_mesh import Mesh
from minkocc.visualization.wireframes import ImagePlane

Vector = tuple[float, float, float]
Pick = Callable[[Vector, Vector], str]

BESIDE: Vector = (0.0, -90.0, 0.0)
"""Where a second volume stands, metres in ego: to the right of the first."""

CHASE, BIRDS_EYE = "Chase", "Bird's eye"
_EYES: dict[str, tuple[Vector, Vector]] = {
    CHASE: ((-32.0, 0.0, 20.0), (4.0, 0.0, -1.0)),
    BIRDS_EYE: ((-1.0, 0.0, 105.0), (0.0, 0.0, 0.0)),
}
"""Where each view looks from and at, metres in ego."""
_BOTH = {CHASE: 2.6, BIRDS_EYE: 1.2}
"""How much further away the eye is where two volumes stand side by side."""
_NOT_PICKED = "click on one"
_HIDDEN_COLOUR = (232, 232, 232)
_LIGHTS: tuple[tuple[str, float, Vector], ...] = (
    ("sun", 1.5, (0.0, 0.0, 1.0)),
    ("behind", 0.7, (-1.0, 0.0, 0.0)),
    ("left", 0.3, (0.0, 1.0, 0.0)),
)
"""Name, strength and direction of each light, ego."""


class Page:
    """A server of one page: a scene that is drawn into, and the controls beside it.

    Args:
        offered: what there is to choose from.
        host: address to listen on.
        port: to listen on; 0 takes a free one.

    Raises:
        UserError: nothing can listen there.
    """

    def __init__(self, offered: Offered, host: str = "127.0.0.1", port: int = 8080) -> None:
        _refuse_busy(host, port)
        with _quiet():
            self._server = viser.ViserServer(host, port, label=offered.title, verbose=False)
        self.port = self._server.get_port()
        if port and self.port != port:
            self.close()
            raise UserError(_busy(host, port, "it was taken this moment"))
        self.changed = threading.Event()
        """Set whenever something else is chosen."""
        self._offered = offered
        self._hidden: set[int] = set()
        self._meshes: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, list[Any]] = {}
        self._pick: Pick | None = None
        self._server.scene.set_up_direction("+z")
        self._light()
        self._server.gui.configure_theme(
            control_layout="collapsible", show_logo=False, show_share_button=False
        )
        self._add_controls()
        self.look(CHASE)
        self._server.scene.on_click()(self._clicked)

    def _light(self) -> None:
        """Light in which tops have the colours of the legend, and sides are darker by direction."""
        scene = self._server.scene
        scene.configure_default_lights(enabled=False)
        scene.configure_environment_map(None)
        scene.add_light_ambient("/light/all", intensity=1.6)
        for name, intensity, towards in _LIGHTS:
            scene.add_light_directional(f"/light/{name}", intensity=intensity, position=towards)

    def close(self) -> None:
        """End the server."""
        with _quiet():
            self._server.stop()

    # What is chosen

    def _add_controls(self) -> None:
        gui, start = self._server.gui, self._offered.start
        last = max(1, self._offered.frames - 1)
        self._frame: Any = gui.add_slider("Frame", 0, last, 1, start.frame)
        self._frame.disabled = self._offered.frames == 1
        self._play = gui.add_checkbox("Play", False)
        self._speed = gui.add_slider("Frames a second", 0.5, 10.0, 0.5, 2.0)
        self._about = gui.add_markdown("")
        layers = [*self._offered.layers, NOTHING]
        self._layer = gui.add_dropdown("Voxels", layers, initial_value=start.layer)
        self._beside = gui.add_dropdown("Beside them", layers, initial_value=start.beside)
        pictures = [*self._offered.pictures, NOTHING]
        self._picture = gui.add_dropdown("Cameras", pictures, initial_value=start.picture)
        self._points = gui.add_checkbox("LiDAR", start.points)
        self._boxes = gui.add_checkbox("Boxes", start.boxes, visible=self._offered.boxes)
        views = gui.add_button_group("View", (CHASE, BIRDS_EYE))
        views.on_click(lambda event: self.look(event.target.value))
        self._errors = gui.add_html("", visible=False)
        with gui.add_folder("Voxel under the click"):
            self._picked = gui.add_markdown(_NOT_PICKED)
        with gui.add_folder("Classes: a click hides or shows"):
            every = gui.add_button_group("All", ("show", "hide"))
            every.on_click(lambda event: self._toggle_all(event.target.value == "hide"))
            self._classes = {entry.number: self._class_button(entry) for entry in self._entries}
        inputs: list[Any] = [self._frame, self._play, self._speed, self._layer, self._beside]
        for handle in [*inputs, self._picture, self._points, self._boxes]:
            handle.on_update(lambda _: self.changed.set())

    @property
    def _entries(self) -> list[Entry]:
        return list(self._offered.classes)

    def _class_button(self, entry: Entry) -> Any:
        button = self._server.gui.add_button(entry.name, color=entry.colour)
        button.on_click(lambda _: self._toggle(entry.number, entry.number not in self._hidden))
        return button

    def _toggle(self, number: int, hide: bool) -> None:
        (self._hidden.add if hide else self._hidden.discard)(number)
        (entry,) = [entry for entry in self._entries if entry.number == number]
        button = self._classes[number]
        button.label = f"{entry.name} (hidden)" if hide else entry.name
        button.color = _HIDDEN_COLOUR if hide else entry.colour
        self.changed.set()

    def _toggle_all(self, hide: bool) -> None:
        with self._server.atomic():
            for entry in self._entries:
                self._toggle(entry.number, hide)

    def choice(self) -> Choice:
        """What is chosen now."""
        return Choice(
            frame=int(self._frame.value),
            layer=self._layer.value,
            beside=self._beside.value,
            picture=self._picture.value,
            points=self._points.value,
            boxes=self._boxes.value,
            hidden=frozenset(self._hidden),
        )

    @property
    def seconds_a_frame(self) -> float | None:
        """How long a frame stays while frames are played; None where they are not."""
        return 1.0 / self._speed.value if self._play.value else None

    def turn_to(self, frame: int) -> None:
        """Move the slider."""
        self._frame.value = frame

    def look(self, view: str) -> None:
        """Look from behind the vehicle, or from above, in every open browser and later ones."""
        eye, target = (np.array(point) for point in _EYES[view])
        if self._beside.value != NOTHING:
            eye = target + _BOTH[view] * (eye - target)
            eye, target = (point + np.array(BESIDE) / 2 for point in (eye, target))
        camera = self._server.initial_camera
        camera.position, camera.look_at = _vector(eye), _vector(target)
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at = eye, target

    # What is said

    def tell(self, title: str, problems: list[str]) -> None:
        """Say which frame it is, and what of it cannot be shown."""
        lines = [f"`{title}`", *(f"**error:** {problem}" for problem in problems)]
        self._about.content = "\n\n".join(lines)

    def explain_errors(self, content: str) -> None:
        """Show a legend of the error view as HTML, or none."""
        self._errors.content = content
        self._errors.visible = bool(content)

    def on_pick(self, pick: Pick) -> None:
        """Say of a click what ``pick`` says of its ray: origin and direction, metres in ego."""
        self._pick = pick

    def forget_pick(self) -> None:
        """Say nothing of the last click: other voxels are drawn now."""
        self._picked.content = _NOT_PICKED

    def _clicked(self, event: viser.SceneClickEvent) -> None:
        if self._pick is not None:
            self._picked.content = self._pick(event.ray_origin, event.ray_direction)

    # What is drawn

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Send what is drawn inside to the browsers at once."""
        with self._server.atomic():
            yield

    def draw_voxels(
        self, place: str, meshes: Mapping[Entry, Mesh], offset: Vector = (0.0, 0.0, 0.0)
    ) -> None:
        """Replace the voxels at a place by others.

        Args:
            place: its name.
            meshes: of each class or kind.
            offset: of the place, metres in ego.
        """
        drawn = self._meshes.setdefault(place, {})
        for name in set(drawn) - {entry.name for entry in meshes}:
            drawn.pop(name).remove()
        for entry, mesh in meshes.items():
            drawn[entry.name] = self._server.scene.add_mesh_simple(
                f"/{place}/{entry.name}",
                mesh.vertices,
                mesh.triangles,
                color=entry.colour,
                flat_shading=True,
                cast_shadow=False,
                receive_shadow=False,
                position=offset,
            )

    def show_classes(self, place: str, names: Mapping[str, bool]) -> None:
        """Show or hide the classes of a place, by name."""
        for name, node in self._meshes.get(place, {}).items():
            visible = names.get(name, True)
            if node.visible != visible:
                node.visible = visible

    def draw_points(self, points: NDArray[np.floating[Any]], colours: NDArray[np.uint8]) -> None:
        """Replace the LiDAR returns, ``(P, 3)`` metres in ego and RGB."""
        add = self._server.scene.add_point_cloud
        how: dict[str, Any] = {"point_size": 0.1, "point_shape": "circle"}
        self._replace("lidar", *([add("/lidar", points, colours, **how)] if len(points) else []))

    def draw_boxes(self, lines: NDArray[np.floating[Any]], colours: NDArray[np.uint8]) -> None:
        """Replace the boxes' edges, ``(L, 2, 3)`` metres in ego, and their RGB ``(L, 2, 3)``."""
        add = self._server.scene.add_line_segments
        nodes = [add("/boxes", lines, colours, thickness=0.08)] if len(lines) else []
        self._replace("boxes", *nodes)

    def draw_cameras(
        self, planes: Mapping[str, ImagePlane], images: Mapping[str, NDArray[np.uint8]]
    ) -> None:
        """Replace the cameras' frusta and images; a camera without an image is left out."""
        nodes: list[Any] = []
        scene = self._server.scene
        for camera, image in images.items():
            plane = planes[camera]
            lines = plane.lines.astype(np.float32)
            nodes.append(
                scene.add_line_segments(f"/cameras/{camera}", lines, (30, 30, 30), thickness=0.03)
            )
            nodes.append(
                scene.add_image(
                    f"/cameras/{camera}/image",
                    image,
                    plane.width,
                    plane.height,
                    jpeg_quality=80,
                    cast_shadow=False,
                    receive_shadow=False,
                    wxyz=viser.transforms.SO3.from_matrix(plane.rotation).wxyz,
                    position=plane.centre,
                )
            )
        self._replace("cameras", *nodes)

    def draw_names(self, names: Mapping[str, Vector]) -> None:
        """Replace the names that stand in the scene, at positions in ego."""
        add = self._server.scene.add_label
        nodes = [
            add(f"/names/{number}", text, position=place, anchor="bottom-center")
            for number, (text, place) in enumerate(names.items())
        ]
        self._replace("names", *nodes)

    def _replace(self, what: str, *nodes: Any) -> None:
        """Remove the former nodes of a layer unless new ones of their names took their places."""
        names = {node.name for node in nodes}
        for node in self._nodes.get(what, []):
            if node.name not in names:
                node.remove()
        self._nodes[what] = list(nodes)

    def record(self) -> Recording:
        """Begin to record what is drawn, from the scene as it is."""
        return Recording(self._server)


class Recording:
    """What is drawn on a page, for one that needs no server.

    Args:
        server: what is drawn with.
    """

    def __init__(self, server: viser.ViserServer) -> None:
        self._serializer = server.get_scene_serializer()

    def wait(self, seconds: float) -> None:
        """Let what is drawn so far stay for a while."""
        self._serializer.insert_sleep(seconds)

    def html(self, caption: str) -> str:
        """The whole page with a caption in HTML; it asks for nothing else. Ends the recording."""
        page: str = self._serializer.as_html()
        end = page.rindex("</body>")
        return page[:end] + caption + page[end:]


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool says itself where the page is."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _refuse_busy(host: str, port: int) -> None:
    """Fail where nothing can listen: viser would take the next port, or wait forever.

    Raises:
        UserError: the address is none of this machine, or the port is in use.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise UserError(_busy(host, port, error.strerror or str(error))) from error


def _busy(host: str, port: int, reason: str) -> str:
    return (
        f"--port {port} on --host {host} cannot be listened on ({reason}): end what listens there, "
        "or name another, e.g. --port 8081"
    )
