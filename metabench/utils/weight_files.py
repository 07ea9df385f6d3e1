"""Check of files of weights by their first bytes, so that nothing but safetensors is ever opened."""

from __future__ import annotations

from pathlib import Path

from metabench.errors import MissingError, UsageError
from metabench.utils.paths import is_file, is_folder

_ZIP, _PICKLE = b"PK\x03\x04", (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_HEAD = 512
"""Bytes that are looked at: PyTorch writes the name of its pickle first into the archive."""


def require_weights_file(path: Path, missing: str) -> None:
    """Raise an error for a path that holds no safetensors file, as far as its first bytes tell.

    Args:
        missing: what to say where there is no file, without a full stop.

    Raises:
        MissingError: there is no such file. UsageError: it is a folder or a file of another kind.
    """
    if is_folder(path):
        raise UsageError(f"cannot read weights from {path}: it is a folder. Name a .safetensors file.")
    if not is_file(path):
        raise MissingError(missing)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if other := _other_kind(head):
        raise UsageError(f"cannot read weights from {path}: {other}. {_remedy(path, other)}")


def _other_kind(head: bytes) -> str:
    """Return what a file is that begins so; '' where it can be a safetensors file."""
    if not head:
        return "the file is empty"
    if head.startswith(_PICKLE) or (head.startswith(_ZIP) and b"data.pkl" in head):
        return "it is a PyTorch pickle, which is never opened here"
    if head.startswith(_ZIP):
        return "it is a zip archive"
    return "" if head[8:9] in (b"{", b"") else "it is not a safetensors file"


def _remedy(path: Path, kind: str) -> str:
    if "pickle" not in kind:
        return "Pass a .safetensors file."
    converted = str(path.with_suffix(".safetensors"))
    load = f"torch.load({str(path)!r}, weights_only=True)"
    return f"Convert its state dictionary: safetensors.torch.save_file({load}, {converted!r})"
