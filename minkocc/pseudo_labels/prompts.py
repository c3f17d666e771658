"""What an open-vocabulary detector is asked for: nouns a class, in groups of one caption each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import OCC3D, UNLABELLED_2D, Taxonomy

# The detector's text model ends a phrase at either.
_ENDS_OF_PHRASE = ".?"


class PromptError(UserError, ValueError):
    """Prompts that cannot be used; the text names the group, the phrase and the remedy."""


@dataclass(frozen=True)
class PromptGroup:
    """Phrases that one caption asks for.

    Args:
        phrases: each with the name of its class, in the order of the caption.
        taxonomy: of the classes.
    """

    phrases: tuple[tuple[str, str], ...]
    taxonomy: Taxonomy = OCC3D

    @property
    def caption(self) -> str:
        """The text that the detector reads: ``sedan. car. road.``."""
        return " ".join(f"{phrase}." for phrase, _ in self.phrases)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """First and end character in the caption of every phrase, and the 2D id of its class."""
        start = 0
        for phrase, name in self.phrases:
            yield start, start + len(phrase), self.taxonomy.id_2d(name)
            start += len(phrase) + 2

    def as_dict(self) -> dict[str, list[str]]:
        """The group as a prompt file holds it."""
        out: dict[str, list[str]] = {}
        for phrase, name in self.phrases:
            out.setdefault(name, []).append(phrase)
        return out


def read_prompts(path: Path | None = None, taxonomy: Taxonomy = OCC3D) -> list[PromptGroup]:
    """The groups of a JSON file, ``[{"car": ["car", "sedan"], ...}, ...]``.

    Args:
        path: the file; None takes the taxonomy's own.
        taxonomy: the classes.

    Raises:
        PromptError: the file cannot be read, or holds something else; the taxonomy has no prompts.
    """
    if path is None and not taxonomy.prompts:
        raise PromptError("the taxonomy has no prompts: give it some, or name --prompts FILE")
    if path is None:
        return parse_prompts(taxonomy.prompts, "the taxonomy's prompts", taxonomy)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PromptError(
            f"--prompts {path} cannot be read ({error}): name a JSON file with a list of groups, "
            'such as [{"car": ["car", "sedan"]}, {"sky": ["sky"]}]'
        ) from error
    return parse_prompts(content, f"--prompts {path}", taxonomy)


def parse_prompts(content: Any, where: str, taxonomy: Taxonomy = OCC3D) -> list[PromptGroup]:
    """Groups out of a list of ``{class: [phrase, ...]}``, checked.

    Args:
        content: what a prompt file holds.
        where: what to call it in an error.
        taxonomy: the classes.

    Raises:
        PromptError: a class is unknown, a phrase is empty, holds an end of phrase or comes twice,
            or the content is something else.
    """
    if not isinstance(content, (list, tuple)) or not content:
        raise PromptError(
            f"{where}: expected a list of groups, such as "
            '[{"car": ["car", "sedan"]}, {"sky": ["sky"]}]'
        )
    seen: dict[str, str] = {}
    return [
        _group(group, f"{where}, group {i + 1}", seen, taxonomy) for i, group in enumerate(content)
    ]


def _group(group: Any, where: str, seen: dict[str, str], taxonomy: Taxonomy) -> PromptGroup:
    if not isinstance(group, Mapping) or not group:
        raise PromptError(f"{where} is {group!r}, expected {{class: [phrase, ...]}} of one or more")
    phrases = []
    for name, given in group.items():
        check_label(name, where, taxonomy)
        if not isinstance(given, (list, tuple)) or not given:
            raise PromptError(f"{where}: {name} has {given!r}, expected a list of phrases")
        for phrase in given:
            phrases.append((_phrase(phrase, f"{where}: {name}", seen), name))
    return PromptGroup(tuple(phrases), taxonomy)


def check_label(name: Any, where: str, taxonomy: Taxonomy = OCC3D) -> None:
    """Refuse what is no name of ``taxonomy.labels_2d``.

    Raises:
        PromptError: it is not; the text names the nearest.
    """
    known = taxonomy.labels_2d
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise PromptError(f"{where}: unknown class {name!r}{hint}, expected one of {', '.join(known)}")


def _phrase(phrase: Any, where: str, seen: dict[str, str]) -> str:
    if not isinstance(phrase, str) or not phrase.strip():
        raise PromptError(f"{where} has the phrase {phrase!r}, expected a noun or two")
    text = " ".join(phrase.lower().split())  # the detector was trained on lower case
    if any(end in text for end in _ENDS_OF_PHRASE):
        raise PromptError(
            f"{where} has the phrase {phrase!r}, but the detector takes a full stop or a question "
            "mark for the end of a phrase: leave it out, or write several phrases"
        )
    if text in seen:
        raise PromptError(f"{where} has the phrase {text!r}, as has {seen[text]}: keep one of them")
    seen[text] = where
    return text


def token_ids(group: PromptGroup, tokenizer: Any, limit: int) -> NDArray[np.uint8]:
    """The 2D id that each token of the group's caption stands for.

    Args:
        group: the phrases.
        tokenizer: a fast tokenizer of ``transformers``.
        limit: how many tokens the detector looks at.

    Returns:
        ``(tokens,)``; 0 for tokens of no phrase: full stops and those that begin and end a text.

    Raises:
        PromptError: the caption is too long, or a phrase becomes no token.
    """
    encoded = tokenizer(group.caption, return_offsets_mapping=True)
    offsets = np.asarray(encoded["offset_mapping"])
    if len(offsets) > limit:
        raise PromptError(
            f"prompts: the group of {group.phrases[0][0]!r} has {len(offsets)} tokens, the "
            f"detector reads {limit}: spread its phrases over more groups"
        )
    out = np.full(len(offsets), UNLABELLED_2D, np.uint8)
    start, end = offsets.T
    for (first, last, number), (phrase, _) in zip(group.spans(), group.phrases):
        inside = (start >= first) & (end <= last) & (end > start)
        if not inside.any():
            raise PromptError(
                f"prompts: the phrase {phrase!r} holds nothing that the detector's text model "
                "reads: write it in other words"
            )
        out[inside] = number
    return out
