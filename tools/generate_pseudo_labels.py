"""Make 2D pseudo-labels of a nuScenes root's keyframes with models of transformers."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from minkocc.apis.pseudo_labels.generate import Job, Shard, generate_pseudo_labels
from minkocc.config.classes import add_taxonomy, read_taxonomy
from minkocc.pseudo_labels.prompts import read_prompts
from minkocc.pseudo_labels.sources import Source, detection_source, semantic_source
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CAMERAS


def main() -> None:
    """Label the images, and say what the labels cover."""
    options = _parse()
    shard = Shard.parsed(options.shard) if options.shard else Shard.of_torchrun(os.environ)
    job = Job(
        options.root,
        options.version,
        options.folder,
        # In one order, whatever that of the option: the batches depend on it.
        options.cameras and sorted(options.cameras, key=_place),
        options.scenes,
        options.infos or (),
        options.batch_size,
        options.workers,
        _device(options.device),
        shard,
        options.overwrite,
        show_progress=bool(options.shard) or shard.index == 0,
    )
    source = _source(options)
    for warning in source.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    print(generate_pseudo_labels(job, source))


def _source(options: argparse.Namespace) -> Source:
    taxonomy = read_taxonomy(options.taxonomy)
    if options.semantic:
        return semantic_source(options.semantic, options.class_map, taxonomy)
    groups = read_prompts(options.prompts, taxonomy)
    return detection_source(options.detector, options.segmenter, groups, options.threshold)


def _device(name: str | None) -> torch.device:
    """The named device; else this process's share of CUDA, or the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name}: expected cpu, cuda or cuda:1") from error
    if device.type != "cuda":
        return device
    if device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if device.index >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}, process {device.index} of this machine: it has "
            f"{torch.cuda.device_count()} CUDA devices; start no more processes than that, or use "
            "--device cpu"
        )
    return device


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root, or a log's folder")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--version", help="e.g. v1.0-trainval")
    images.add_argument(
        "--infos", nargs="+", type=Path, metavar="PKL", help="of own logs: the images of these"
    )
    models = parser.add_argument_group("models: folders or names on the hub")
    models.add_argument("--detector", metavar="MODEL", help="Grounding-DINO")
    models.add_argument("--segmenter", metavar="MODEL", help="SAM or SAM 2")
    models.add_argument(
        "--semantic", metavar="MODEL", help="a semantic segmentation model, instead of both"
    )
    models.add_argument(
        "--class-map", metavar="MAP",
        help="of --semantic: one of the taxonomy's, such as cityscapes, or a JSON file "
        "{label: class}",
    )  # fmt: skip
    models.add_argument(
        "--prompts", type=Path, metavar="FILE",
        help="of --detector: JSON, [{class: [noun, ...]}]; default: the taxonomy's",
    )  # fmt: skip
    add_taxonomy(parser)
    models.add_argument(
        "--threshold", type=float, default=0.25, help="of --detector: least score of a box"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("pseudo_labels"), metavar="DIR",
        help="where to, relative to the root",
    )  # fmt: skip
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument(
        "--cameras", nargs="+", metavar="CAM",
        help=f"these alone, of {', '.join(CAMERAS)}, or of the infos",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=1, help="images at a time")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--device", help="default: CUDA where there is some")
    parser.add_argument("--shard", metavar="I/N", help="0/N to N-1/N; default: as torchrun says")
    parser.add_argument(
        "--overwrite", action="store_true", help="delete labels made with other settings"
    )
    add_debug(parser)
    options = parser.parse_args()
    _check(parser, options)
    return options


def _place(camera: str) -> tuple[int, str]:
    return (CAMERAS.index(camera) if camera in CAMERAS else len(CAMERAS)), camera


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.version and (odd := sorted(set(options.cameras or ()) - set(CAMERAS))):
        parser.error(
            f"argument --cameras: invalid choice: {odd[0]!r} (choose from {', '.join(CAMERAS)})"
        )
    if options.semantic:
        if options.detector or options.segmenter or options.prompts:
            parser.error("--semantic stands alone, without --detector, --segmenter and --prompts")
        if not options.class_map:
            parser.error("--semantic needs --class-map: cityscapes or a JSON file")
    elif not (options.detector and options.segmenter):
        parser.error("name --detector and --segmenter, or --semantic and --class-map")
    elif options.class_map:
        parser.error("--class-map belongs to --semantic; --detector has --prompts")
    if not 0.0 <= options.threshold < 1.0:
        parser.error(f"--threshold {options.threshold}: expected 0 or more, and less than 1")
    refuse_less(parser, options, batch_size=1, workers=0)


if __name__ == "__main__":
    run_tool(main)
