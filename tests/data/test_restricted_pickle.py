import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.data.pickled_values import LazyBytes, PickledArray
from metabench.data.restricted_pickle import open_pickle, read_pickle
from metabench.errors import MetabenchError


def read(data, **limits):
    return read_pickle(io.BytesIO(data), "set.pkl", **limits)


def refusal(data, **limits):
    with pytest.raises(MetabenchError) as caught:
        read(data, **limits)
    message = str(caught.value)
    assert message.startswith("set.pkl: ") and "\n" not in message and len(message) < 400
    assert "get the official file again" in message
    return message


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.binary() | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, 5))
def test_plain_values_come_back_as_they_were(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("code", ["u1", "<i4", ">i2", "f8", "?"])
def test_arrays_come_back_as_they_were(protocol, code):
    array = np.arange(60).reshape(3, 4, 5).astype(code)
    for value in (array, array.T, np.asfortranarray(array), array[:0], array[0, 0, 0]):
        got = read(pickle.dumps({"x": value}, protocol))["x"]
        loaded = got.load() if isinstance(got, PickledArray) else got
        np.testing.assert_array_equal(loaded, value)
        if isinstance(got, PickledArray):
            assert loaded.dtype == value.dtype and not loaded.flags.writeable


def test_python_2_strings_and_names_of_numpy_1():
    data = (
        b"\x80\x02}q\x01(U\x04nameq\x02T\x03\x00\x00\x00a\xe9zU\x04dataq\x03cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x01\x02\x03\x04\x05\xfftbu."
    )
    assert np.array_equal(pickle.loads(data, encoding="latin1")["data"], [[1, 2, 3], [4, 5, 255]])
    got = read(data)
    assert got["name"] == "a\xe9z"
    np.testing.assert_array_equal(got["data"].load(), [[1, 2, 3], [4, 5, 255]])


def test_long_byte_strings_stay_in_the_file(tmp_path):
    images = [np.random.default_rng(i).integers(0, 256, 5000 + i, np.uint8) for i in range(3)]
    (tmp_path / "images.pkl").write_bytes(pickle.dumps([*images, images[1].tobytes()], 4))
    with open_pickle(tmp_path / "images.pkl") as got:
        assert all(isinstance(item.data, LazyBytes) for item in got[:3]) and isinstance(got[3], LazyBytes)
        for item, image in zip(reversed(got[:3]), reversed(images), strict=True):
            np.testing.assert_array_equal(item.load(), image)
        assert got[3].read() == images[1].tobytes()


class Evil:
    """What the pickle of it calls, when it is read by the pickle module."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def marked(path, protocol):
    """Pickles that leave a file at `path` if anything of them is executed."""
    touch = f"open({str(path)!r}, 'w').close()"
    yield pickle.dumps(Evil(os.system, f"touch {path}"), protocol)
    yield pickle.dumps(Evil(exec, touch), protocol)
    yield pickle.dumps({"data": [1, Evil(eval, touch)]}, protocol)
    yield pickle.dumps(Evil(subprocess.call, ["touch", str(path)]), protocol)
    yield pickle.dumps(Evil(np.load, str(path)), protocol)
    yield pickle.dumps(Evil(open, str(path), "w"), protocol)
    yield pickle.dumps(Evil(getattr, "x", "join"), protocol)


@pytest.mark.parametrize("protocol", range(6))
def test_what_pickles_call_is_named_and_not_executed(tmp_path, protocol):
    for data in marked(tmp_path / "owned", protocol):
        message = refusal(data)
        assert "which is code and not data" in message and "nothing of it was run" in message
        assert not (tmp_path / "owned").exists()
    assert pickle.loads(next(marked(tmp_path / "owned", protocol))) == 0  # the attack is real
    assert (tmp_path / "owned").exists()


def test_instructions_that_make_objects_are_refused(tmp_path):
    path = tmp_path / "owned"
    for data in (
        f"(S'touch {path}'\nios\nsystem\n.".encode(),  # INST
        f"(cos\nsystem\nS'touch {path}'\no.".encode(),  # OBJ
        b"\x80\x02cbuiltins\nobject\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pname\n.",  # a persistent id
        b"\x80\x05\x97.",  # a buffer outside of the file
        b"\x80\x04\x8f.",  # a set
        b"\x80\x02K\x01K\x02\x85R.",  # calls a number
        b"\x80\x02]}b.",  # gives a list a state
        b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",  # allocates
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",  # an array of objects
        b"\x80\x02cnumpy\ndtype\nU\x04V999K\x00K\x01\x87R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",  # only a name
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xU\x05rot13\x86R.",
        b"\x80\x02cnumpy.core\nmultiarray.os\n.",
        b"\x80\x02}K\x01\x85K\x02s.",  # a tuple as a key
    ):
        refusal(data)
    assert not path.exists()


def array_pickle(shape, code=b"u1", data=b"\x00" * 4, order=b"|"):
    """A pickle of an array of any claimed shape."""
    sizes = b"".join(b"\x8a\x09" + size.to_bytes(9, "little", signed=True) for size in shape)
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
        + sizes
        + b"tcnumpy\ndtype\nU"
        + struct.pack("<B", len(code))
        + code
        + b"K\x00K\x01\x87R(K\x03U\x01"
        + order
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + struct.pack("<B", len(data))
        + data
        + b"tb."
    )


def test_arrays_that_lie_about_their_size():
    np.testing.assert_array_equal(read(array_pickle((2, 2))).load(), np.zeros((2, 2)))
    for shape in ((5,), (2**62,), (-1, -4), (2, 2, 2**60), (1,) * 20 + (4,), (2**64,)):
        assert "size is not that of its 4 bytes" in refusal(array_pickle(shape))
    for code, order in ((b"O8", b"|"), (b"S4", b"|"), (b"u1", b"!"), (b"i16", b"<"), (b"u1,u1", b"|")):
        assert "not a readable pickle" in refusal(array_pickle((4,), code, order=order))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02T\xff\xff\xff\x7f",  # a string of 2 GB
        b"\x80\x04\x8e" + struct.pack("<Q", 2**50) + b"x.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**60),
        b"\x80\x02T\xf0\xff\xff\xff.",  # of a negative length
        b"I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of 2 GB
    ],
)
def test_absurd_lengths(data):
    refusal(data)


def test_a_large_place_in_the_memo_takes_no_memory():
    assert read(b"\x80\x02]r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == []


def test_programs_end():
    assert "more than 1000 steps" in refusal(b"\x80\x02" + b"]" * 5000, most_steps=1000)
    deep = b"\x80\x02" + b"]" * 2000 + b"a" * 1999 + b"."
    assert len(read(deep)) == 1
    doubling = b"\x80\x02]" + b"2\x86" * 300 + b"."  # 2**300 leaves, if anyone walked them
    assert len(read(doubling)) == 2
    refusal(b"\x80\x02}](" + b"2\x86" * 100 + b"K\x01u.")


@given(st.integers(0, 5), st.data())
def test_damage_is_one_line(protocol, draw):
    """Cut short or with a byte changed, it is read to something plain or refused in one line."""
    value = {"data": np.arange(8, dtype=np.uint8), "labels": [1, 2, 3], b"k": ("text", 2.5, 10**30, None, True)}
    data = bytearray(pickle.dumps(value, protocol))
    place = draw.draw(st.integers(0, len(data) - 1))
    if draw.draw(st.booleans()):
        data[place] = draw.draw(st.integers(0, 255))
    else:
        del data[place:]
    try:
        read(bytes(data))
    except MetabenchError as error:
        assert "\n" not in str(error)


def test_truncated_everywhere():
    data = pickle.dumps({"data": np.arange(8, dtype=np.uint8), "labels": [1, 2]}, 2)
    for length in range(len(data)):
        refusal(data[:length])


def test_unreadable_file(tmp_path):
    with pytest.raises(MetabenchError, match=r"none\.pkl: cannot be read"), open_pickle(tmp_path / "none.pkl"):
        pass


def test_memory_of_a_list_of_images_is_that_of_a_list(tmp_path):
    """400 MB of images under a limit that has no room for them."""
    path = tmp_path / "images.pkl"
    image = bytes(1_000_000)
    with path.open("wb") as stream:
        stream.write(b"\x80\x02](")
        for _ in range(400):
            stream.write(b"T" + struct.pack("<i", len(image)) + image)
        stream.write(b"e.")
    code = f"""
import resource, tracemalloc
from pathlib import Path
from metabench.data.restricted_pickle import open_pickle
tracemalloc.start()
with open_pickle(Path({str(path)!r})) as images:
    assert len(images) == 400 and sum(map(len, (image.read() for image in images))) == 400_000_000
assert tracemalloc.get_traced_memory()[1] < 4_000_000, tracemalloc.get_traced_memory()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
