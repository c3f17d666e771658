"""A session on a real page that no browser has opened: what it draws, says and writes."""

import socket
from dataclasses import replace

import numpy as np
import pytest

from minkocc.apis.view.choice import NOTHING, Offered
from minkocc.apis.view.frames import LABEL, WEAK, ViewedFrames
from minkocc.apis.view.page import BESIDE, Page
from minkocc.apis.view.session import Session, export_page
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES, FREE
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.unit.apis.test_inference import recipe
from tests.unit.apis.view.test_frames import fewer_and_other, save


@pytest.fixture
def session(synthetic_root, tmp_path):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    pred = save(tmp_path / "pred", infos, fewer_and_other)
    frames = ViewedFrames(recipe(synthetic_root), infos, [pred])
    page = Page(Offered.of(frames, "test"), port=0)
    yield Session(frames, page)
    page.close()


def choice(session, **changes):
    return replace(session.page.choice(), **changes)


def drawn(session, place="voxels"):
    return session.page._meshes.get(place, {})


def test_classes_of_a_frame_are_drawn_and_hidden(session):
    session.draw(choice(session))
    prediction = session.frames.volume(0, "prediction").semantics
    present = {CLASSES[i] for i in np.unique(prediction) if i < FREE}
    assert set(drawn(session)) == present
    session.draw(choice(session, hidden=frozenset({13, 16})))
    visible = {name for name, node in drawn(session).items() if node.visible}
    assert visible == present - {"sidewalk", "vegetation"}
    session.draw(choice(session, layer="errors"))
    assert set(drawn(session)) == {"right", "wrong class", "missed", "invented"}
    assert all(node.visible for node in drawn(session).values())
    assert "missed" in session.page._errors.content
    session.draw(choice(session, layer=WEAK, beside=LABEL))
    assert set(drawn(session)) == {"occupied"}
    assert not session.page._errors.visible
    assert all(tuple(node.position) == BESIDE for node in drawn(session, "beside").values())
    session.draw(choice(session, layer=NOTHING))
    assert not drawn(session)


def test_a_click_tells_of_the_voxel_that_is_seen(session):
    session.draw(choice(session))
    volume = session.frames.volume(0, "prediction").semantics
    top = np.array([101, 101, 14])
    above = OCC3D_GRID.to_centre(top) + np.array([0, 0, 30])
    said = session.describe(tuple(above), (0, 0, -1))
    assert said.startswith("**car** at x 0.6, y 0.6, z 4.8 m (voxel [101, 101, 14])")
    assert "label: free" in said
    session.draw(choice(session, hidden=frozenset({4}), beside=LABEL))
    below = [z for z in range(14) if volume[101, 101, z] < FREE]
    said = session.describe(tuple(above), (0, 0, -1))
    assert said == "nothing there" if not below else CLASSES[volume[101, 101, below[-1]]] in said
    place = np.argwhere(session.frames.volume(0, LABEL).semantics == 11)[0]
    there = OCC3D_GRID.to_centre(place) + np.array(BESIDE) + np.array([0, 0, 30])
    assert "label: " in session.describe(tuple(there), (0, 0, -1))
    assert session.describe((0, 0, 50), (0, 0, 1)) == "nothing there"


def test_what_cannot_be_read_is_said_and_the_rest_is_drawn(linked_root, tmp_path):
    infos = linked_root / "minkocc_infos_val.pkl"
    frames = ViewedFrames(recipe(linked_root), infos)
    broken = linked_root / frames.frames[0]["occ_path"]
    broken.unlink()
    broken.write_bytes(b"no label")
    page = Page(Offered.of(frames, "test"), port=0)
    try:
        session = Session(frames, page)
        session.draw(choice(session, points=True, boxes=True))
        assert "labels.npz cannot be read" in page._about.content
        assert not drawn(session)
        assert page._nodes["lidar"]
        assert page._nodes["boxes"]
        assert len(page._nodes["cameras"]) == 12
        with pytest.raises(UserError, match=r"labels\.npz cannot be read"):
            export_page(session, choice(session), 1, 2.0, tmp_path / "x.html")
        session.draw(choice(session, frame=1))
        assert "error" not in page._about.content
        assert drawn(session)
    finally:
        page.close()


def test_an_exported_page_holds_the_scene_and_a_legend(session, tmp_path):
    start = choice(session, layer="prediction", beside=LABEL)
    assert export_page(session, start, 5, 2.0, tmp_path / "two.html") == 2
    text = (tmp_path / "two.html").read_text()
    assert "window.__VISER_EMBED_DATA__=" in text
    legend = text[text.rindex('<div id="legend"') :]
    assert "prediction | label" in legend
    assert all(name in legend for name in CLASSES)


def test_controls_change_the_choice(session):
    page = session.page
    page.turn_to(1)
    page._toggle(4, hide=True)
    page._toggle(4, hide=True)
    assert page.choice().frame == 1
    assert page.choice().hidden == {4}
    assert page._classes[4].label == "car (hidden)"
    page._toggle_all(hide=True)
    assert len(page.choice().hidden) == 17
    page._toggle_all(hide=False)
    assert not page.choice().hidden
    assert page.seconds_a_frame is None
    page._play.value = True
    assert page.seconds_a_frame == 0.5


def test_a_port_that_is_taken_is_refused(session):
    offered = Offered("x", 1, [], ["image"], False, [])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port} on --host 127.0.0.1.*in use.*--port"):
            Page(offered, port=port)
    with pytest.raises(UserError, match=r"--port 8080 on --host no\.such\.host\.invalid"):
        Page(offered, host="no.such.host.invalid")
    with pytest.raises(UserError, match="--layer rubbish: there is prediction, label"):
        Offered.of(session.frames, "x", layer="rubbish")
