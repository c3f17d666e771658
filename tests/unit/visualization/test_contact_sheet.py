"""Where things stand on the sheet, and that pictures are drawn at all."""

import numpy as np

from minkocc.structures.taxonomy import CAMERAS
from minkocc.visualization.contact_sheet import ORDER, SheetBand, camera_block, contact_sheet
from minkocc.visualization.points import BACKGROUND, birds_eye_points, height_colours

VEHICLE = np.array([[-1.2, -1.1, -0.2], [3.7, 1.1, 2.1]])
RED, BLUE = (255, 0, 0), (0, 0, 255)


def images():
    """Each camera's image is of one shade of its own."""
    return {name: np.full((90, 160, 3), 40 * i, np.uint8) for i, name in enumerate(CAMERAS)}


def test_cameras_stand_as_the_vehicle_sees_them():
    block = camera_block(images(), width=100)
    assert block.shape == (2 * 56 + 4, 3 * 100 + 8, 3)
    for row, cameras in enumerate(ORDER):
        for column, camera in enumerate(cameras):
            corner = block[row * 60 + 50, column * 104 + 95]
            assert (corner == 40 * CAMERAS.index(camera)).all(), camera
    assert sorted(sum(ORDER, ())) == sorted(CAMERAS)


def test_sheet_of_two_keyframes():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    bands = [SheetBand("scene-1", images(), [("sweep", noise)]), SheetBand("scene-2", images())]
    one = np.asarray(contact_sheet(bands[:1], "one", width=800))
    both = np.asarray(contact_sheet(bands, "both", width=800))
    assert both.shape[1] == 800
    assert both.shape[0] > one.shape[0] + 200
    band = both[100 : one.shape[0] - 20]
    assert band[:, 600:780].std() > 30  # the noise, beside the cameras
    assert band[:, 20:500].std() > 30
    assert (both[:, :4] == 255).all()


def test_points_lie_forward_up_and_left_left():
    points = np.array([[20.0, 0.0, 0.0], [0.0, 30.0, 0.0], [80.0, 0.0, 0.0]])
    colours = np.array([RED, BLUE, RED], np.uint8)
    picture = birds_eye_points(points, colours, VEHICLE, extent=50.0, size=500)
    assert picture.shape == (500, 500, 3)
    assert tuple(picture[150, 250]) == RED
    assert tuple(picture[250, 100]) == BLUE
    assert (picture == RED).all(-1).sum() == 4  # the third point lies outside
    assert tuple(picture[5, 5]) == BACKGROUND
    assert tuple(picture[50, 300]) != BACKGROUND  # the frame
    assert tuple(picture[232, 250]) == (255, 255, 255)  # the vehicle's front, 3.7 m ahead


def test_a_higher_point_covers_a_lower_one():
    points = np.array([[20.0, 0.0, 3.0], [20.0, 0.0, 0.0]])
    colours = np.array([RED, BLUE], np.uint8)
    picture = birds_eye_points(points, colours, VEHICLE, size=500)
    assert tuple(picture[150, 250]) == RED
    assert not (picture == BLUE).all(-1).any()


def test_heights_differ_in_colour():
    low, middle, high, above = height_colours(np.array([-1.0, 2.0, 5.4, 9.0]))
    assert len({tuple(c) for c in (low, middle, high)}) == 3
    assert (high == above).all()
