"""What a run knows of its data, by which it tells whether those that are there now are the same."""

from collections.abc import Mapping
from typing import Any

from lowerbound.data import Source


def recorded(source: Source) -> dict[str, Any]:
    """Give what data.json holds: origin, sizes, hashes, notes."""
    return {
        **source.info,
        "name": source.name,
        "origin": list(dict.fromkeys(file["from"] for file in source.info.get("files", []) if "from" in file)),
        "shape": list(source.shape),
        "unit": source.unit,
        "binarise": source.binarise,
        "dequantise": source.dequantise,
        "images": {part: len(getattr(source, part)) for part in ("train", "validation", "test")},
    }


def same(known: Mapping[str, Any], source: Source) -> bool:
    """Whether data are those that data.json tells of: their hashes, their split, and how pixels are read."""
    images = {part: len(getattr(source, part)) for part in known["images"]}
    facts = [list(source.shape), source.binarise, images, source.dequantise]
    return fingerprint(source.info) == fingerprint(known) and facts == [
        *(known[name] for name in ("shape", "binarise", "images")),
        known.get("dequantise", False),  # older runs have none
    ]


def fingerprint(info: Mapping[str, Any]) -> list[Any]:
    """Give what tells data from others, as JSON has it: the SHA-256 of the whole and of each file."""
    return [info.get("sha256"), [file.get("sha256") for file in info.get("files", [])]]
