"""A writer of the least that a .dm3 or .dm4 file holds: one stack of 16-bit frames."""

import struct

import numpy as np

_NUMBERS = {int: (5, "<I"), float: (7, "<d")}
_UINT16 = 4


def write_dm(path, frames, *, version, step, unit, time):
    """Write frames (frame, y, x) with the step of pixels and the time between frames [s].

    Returns the place of the first frame. Frames that are one number, spread without memory
    (`np.broadcast_to(np.uint16(0), shape)`), become a hole in the file.
    """
    ny, nx = frames.shape[1:]
    image = {
        "ImageData": {
            "Calibrations": {
                "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""},
                "Dimension": [
                    {"Origin": 0.0, "Scale": scale, "Units": units}
                    for scale, units in ((step, unit), (step, unit), (time, "s"))
                ],
            },
            "Data": frames.astype("<u2", copy=False),
            "DataType": 10,
            "Dimensions": [nx, ny, len(frames)],
            "PixelDepth": 2,
        },
        "ImageTags": {
            "Meta Data": {"Format": "Image"},
            "Microscope Info": {"Voltage": 300000.0},
        },
        "Name": "film",
    }
    wide = version == 4
    root = _group({"ImageList": [image]}, wide)
    size = ">Q" if wide else ">I"
    start = struct.pack(">I", version) + struct.pack(size, _length(root)) + struct.pack(">I", 1)
    with path.open("wb") as file:
        for piece in [start, *root, bytes(8)]:
            if isinstance(piece, bytes):
                file.write(piece)
                continue
            place = file.tell()
            if any(piece.strides):
                file.write(piece.tobytes())
            else:
                file.seek(piece.nbytes, 1)
    return place


def _length(pieces):
    return sum(piece.nbytes if isinstance(piece, np.ndarray) else len(piece) for piece in pieces)


def _group(tags, wide):
    items = list(tags.items()) if isinstance(tags, dict) else [("", tag) for tag in tags]
    body = [piece for name, value in items for piece in _tag(name, value, wide)]
    return [struct.pack(">BB", 1, 0) + _number(len(items), wide), *body]


def _tag(name, value, wide):
    is_group = isinstance(value, dict | list)
    content = _group(value, wide) if is_group else _value(value, wide)
    size = struct.pack(">Q", _length(content)) if wide else b""
    kind = 20 if is_group else 21
    return [struct.pack(">BH", kind, len(name)) + name.encode() + size, *content]


def _value(value, wide):
    if type(value) in _NUMBERS:
        code, layout = _NUMBERS[type(value)]
        return [b"%%%%" + _number(1, wide) + _number(code, wide) + struct.pack(layout, value)]
    if isinstance(value, str):
        raw, n = value.encode("utf-16-le"), len(value)
    else:
        raw, n = value, value.size
    numbers = (3, 20, _UINT16, n)
    return [b"%%%%" + b"".join(_number(one, wide) for one in numbers), raw]


def _number(value, wide):
    return struct.pack(">Q" if wide else ">I", value)
