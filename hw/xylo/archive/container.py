"""Named byte strings in one zip that is the same for the same content, with a checksum of everything.

Members are stored in order, uncompressed and without dates, so a file is valid only if writing its content
again gives the same bytes: any byte that changed is found, also where a zip reader would not look. Members
are read into memory by their known names; nothing is unpacked to disk.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import write_bytes

__all__ = ["read_container", "write_container"]

MANIFEST = "manifest.json"
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
MAX_BYTES = 2**30


def write_container(path: str | Path, header: Mapping[str, Any], members: Mapping[str, bytes]) -> Path:
    """Write ``members`` and ``header`` to ``path``."""
    return write_bytes(path, _encoded(header, members))


def read_container(path: str | Path, known: frozenset[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return header and members.

    Raises:
        FileFormatError: the file is missing, cut, altered, or holds other members than the ``known`` ones.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise FileFormatError(f"{path} is larger than {MAX_BYTES} bytes; no deployment is.")
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error}") from error
    try:
        manifest, members = _decoded(content, known)
        header = {name: value for name, value in manifest.items() if name not in ("files", "sha256")}
        changed = _changed(manifest, members)
    except Exception as error:  # zipfile raises a dozen kinds for what is no zip
        raise FileFormatError(
            f"{path} is damaged, or no deployment: {error or type(error).__name__}"
        ) from error
    if changed:
        raise FileFormatError(f"{path} was altered: {', '.join(changed)} does not match its checksum.")
    if _encoded(header, members) != content:
        raise FileFormatError(f"{path} was altered: it is not what writing its content gives.")
    return header, members


def _encoded(header: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    manifest = dict(header)
    manifest["files"] = {name: _sha256(members[name]) for name in sorted(members)}
    manifest["sha256"] = _sha256(_text(manifest))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in (MANIFEST, *sorted(members)):
            entry = zipfile.ZipInfo(name, FIRST_DATE)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, _text(manifest) if name == MANIFEST else members[name])
    return buffer.getvalue()


def _decoded(content: bytes, known: frozenset[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        foreign = sorted(set(names) - known - {MANIFEST})
        if MANIFEST not in names or foreign or len(set(names)) < len(names):
            raise ValueError(f"it holds {', '.join(names[:8]) or 'nothing'}")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its members are compressed, which deployments' are not")
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its members are larger than itself")
        members = {name: archive.read(name) for name in names}
    manifest = json.loads(members.pop(MANIFEST))
    if not isinstance(manifest, dict):
        raise ValueError("its manifest is no object")
    return manifest, members


def _changed(manifest: dict[str, Any], members: Mapping[str, bytes]) -> list[str]:
    """Return the names of what does not match its checksum."""
    stated = {name: value for name, value in manifest.items() if name != "sha256"}
    changed = [] if manifest["sha256"] == _sha256(_text(stated)) else [MANIFEST]
    files = manifest["files"]
    if set(files) != set(members):
        raise ValueError(f"its manifest names {sorted(files)}, it holds {sorted(members)}")
    return changed + [name for name in sorted(members) if files[name] != _sha256(members[name])]


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
