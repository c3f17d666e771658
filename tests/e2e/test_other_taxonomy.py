"""A log whose labels are of eight classes of its own: labels, training, figures and pictures."""

import json
import shutil

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from PIL import Image

from minkocc.datasets.lidarseg import classes_of, read_categories
from minkocc.files.infos import read_infos
from minkocc.files.label_images import palette_png
from minkocc.files.occupancy import read_class_groups, read_label
from minkocc.files.pseudo_label_meta import make_meta, write_meta
from minkocc.files.writing import write_json
from minkocc.structures.taxonomy import CATEGORY_TO_ID, FREE, Taxonomy
from tests.e2e.job import CONFIG, expect_error, options, printed_by, tool
from tests.e2e.test_sensor_log import manifest_of
from tests.other_taxonomy import DRIVING8, DRIVING8_FILE, TO_DRIVING8, TO_DRIVING8_2D

pytestmark = pytest.mark.processes
TAXONOMY = Taxonomy.of(DRIVING8)
NAMES = DRIVING8["classes"]
VERSION = "v1.0-synthetic"


def annotate(nusc, root, frame):
    """Add boxes and the classes of returns to a manifest's frame, in our eight classes."""
    sample = nusc.get("sample", frame["token"])
    frame["boxes"] = []
    for token in sample["anns"]:
        record = nusc.get("sample_annotation", token)
        number = TO_DRIVING8[CATEGORY_TO_ID[record["category_name"]]]
        width, length, height = record["size"]
        frame["boxes"].append(
            {
                "track": record["instance_token"],
                "class": NAMES[number],
                "box2ego": box2ego(nusc, sample, record),
                "size": [length, width, height],
            }
        )
    lidar = sample["data"]["LIDAR_TOP"]
    path = root / nusc.get("lidarseg", lidar)["filename"]
    categories = nusc.lidarseg_idx2name_mapping
    number = read_categories(path, categories, path.stat().st_size)
    named = f"lidarseg8/{lidar}.npy"
    (root / "lidarseg8").mkdir(exist_ok=True)
    np.save(root / named, TO_DRIVING8[classes_of(number, categories)])
    frame["lidarseg"] = named


def box2ego(nusc, sample, record):
    """Of an annotation, as a matrix."""
    from pyquaternion import Quaternion

    def matrix(said):
        out = Quaternion(said["rotation"]).transformation_matrix
        out[:3, 3] = said["translation"]
        return out

    lidar = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    ego2global = matrix(nusc.get("ego_pose", lidar["ego_pose_token"]))
    return (np.linalg.inv(ego2global) @ matrix(record)).tolist()


def repaint(root):
    """The pseudo-labels of a root in our classes."""
    for path in sorted((root / "pseudo_labels" / "labels").glob("*/*.png")):
        labels = TO_DRIVING8_2D[np.asarray(Image.open(path))]
        path.unlink()  # it may be a link
        path.write_bytes(palette_png(labels, TAXONOMY))
    meta = make_meta("test", ["by hand"], {}, None, taxonomy=TAXONOMY)
    (root / "pseudo_labels" / "meta.json").unlink()
    write_meta(root / "pseudo_labels", meta)


@pytest.fixture(scope="module")
def own(tiny_root, tmp_path_factory):
    """A data root of eight classes, its manifests, and a recipe for it."""
    folder = tmp_path_factory.mktemp("own")
    root = folder / "root"
    shutil.copytree(tiny_root, root)
    shutil.rmtree(root / "gts")
    for path in root.glob("minkocc_infos_*.pkl"):
        path.unlink()
    nusc = NuScenes(version=VERSION, dataroot=str(root), verbose=False)
    logs = []
    for name, content in manifest_of(root, VERSION).items():
        for frame in content["frames"]:
            annotate(nusc, root, frame)
        logs.append(root / f"{name}.json")
        write_json(logs[-1], content)
    repaint(root)
    recipe = folder / "own.py"
    recipe.write_text(f"_base_ = [{str(CONFIG)!r}]\ntaxonomy = {str(DRIVING8_FILE)!r}\n")
    return root, logs, recipe


@pytest.fixture(scope="module")
def labelled(own):
    """The same with labels that were made of its boxes and lidarseg, and infos."""
    root, logs, recipe = own
    of_own = ("--root", root, "--log", *logs, "--taxonomy", DRIVING8_FILE)
    printed_by("create_occupancy.py", *of_own, "--out", root / "gts")
    said = printed_by("create_data.py", *of_own, "--val-scenes", logs[-1].stem)
    assert "val: 1 scenes, 2 frames, 2 with labels" in said
    return root, logs, recipe


@pytest.fixture(scope="module")
def trained(labelled, tmp_path_factory):
    """A run on it, with its predictions."""
    root, _, recipe = labelled
    work = tmp_path_factory.mktemp("run")
    printed_by("train.py", recipe, "--work-dir", work, *options(root, weight_2d=1.0))
    figures = printed_by(
        "test.py", recipe, work / "epoch_2.pth", "--render", "--dump", work / "pred",
        "--out", work / "test.json", *options(root),
    )  # fmt: skip
    return work, figures


def test_labels_are_made_in_the_classes_of_the_log(labelled, tiny_root):
    """Against the exact labels of Occ3D's classes, taken together."""
    root, _, _ = labelled
    right = total = 0
    for path in sorted((root / "gts").glob("*/*/labels.npz")):
        made = read_label(path, taxonomy=TAXONOMY)["voxel_semantics"]
        label = read_label(tiny_root / path.relative_to(root))
        exact, seen = label["voxel_semantics"], label["mask_camera"]
        both = seen & (made != FREE) & (exact != FREE)
        assert both.sum() > 0.95 * (seen & (made != FREE)).sum()
        right += (made[both] == TO_DRIVING8[exact[both]]).sum()
        total += both.sum()
    assert right > 0.9 * total
    note = json.loads((root / "gts" / "occupancy_labels.json").read_text())
    assert note["made"]["settings"]["taxonomy"] == DRIVING8


def test_figures_and_files_are_of_these_classes(trained, labelled):
    root, _, _ = labelled
    work, figures = trained
    report = json.loads((work / "test.json").read_text())
    for protocol, key in (("occ3d", "iou"), ("rayiou", "iou@1"), ("rendered2d", "iou_tied")):
        assert list(report[protocol][key]) == NAMES
        assert report[protocol]["taxonomy"] == DRIVING8
    assert "vehicle" in figures
    assert "construction_vehicle" not in figures
    infos = root / "minkocc_infos_val.pkl"
    frames = read_infos(infos, taxonomy=TAXONOMY)["data_list"]
    for frame in frames:
        path = work / "pred" / f"{frame['token']}.npz"
        assert read_class_groups(path).taxonomy == TAXONOMY
        assert set(np.unique(np.load(path)["pred"])) <= {*range(8), FREE}
    again = printed_by(
        "evaluate.py", "--pred", work / "pred", "--gt", root / "gts", "--infos", infos,
        "--out", work / "again.json",
    )  # fmt: skip
    assert "vehicle" in again


def test_pictures_and_the_page_are_in_its_colours(trained, labelled, tmp_path):
    root, logs, recipe = labelled
    work, _ = trained
    infos = root / "minkocc_infos_val.pkl"
    small = options(root)
    printed_by(
        "visualize.py", recipe, work / "epoch_2.pth", "--infos", infos, "--out", tmp_path,
        "--max-frames", 1, *small,
    )  # fmt: skip
    colours = set(TAXONOMY.colours)
    (picture,) = tmp_path.glob("*.png")
    pixels = {tuple(c) for c in np.unique(np.asarray(Image.open(picture)).reshape(-1, 3), axis=0)}
    assert colours <= pixels  # of the legend
    page = tmp_path / "page.html"
    printed_by(
        "view.py", recipe, "--pred", work / "pred", "--infos", infos, "--log", *logs,
        "--export", page, *small,
    )  # fmt: skip
    assert ">vehicle</div>" in page.read_text()
    assert ">manmade</div>" not in page.read_text()
    printed_by(
        "analysis/browse_dataset.py", recipe, "--out", tmp_path / "seen", "--phase", "weak",
        "--max-frames", 1, *small,
    )  # fmt: skip
    assert len(list((tmp_path / "seen").glob("*.png"))) == 1


def test_what_is_of_other_classes_is_refused(trained, labelled, tiny_root, tmp_path):
    root, _, _ = labelled
    work, _ = trained
    done = tool("train.py", CONFIG, "--work-dir", tmp_path, *options(root))
    expect_error(done, "info file", "'road'", "Occ3D-nuScenes")
    done = tool("test.py", CONFIG, work / "epoch_2.pth", *options(tiny_root))
    expect_error(done, "trained with taxonomy of road, path", "of others, barrier")
