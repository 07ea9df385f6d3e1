import io
import warnings

import numpy as np
import pytest
from PIL import Image

from metabench.data import DataContext
from metabench.data.image_arrays import ImageDecoder, ImageSource, cached_images
from metabench.data.parallel_rows import Unusable
from metabench.errors import MetabenchError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)


def encoded(pixels=PIXELS, mode="RGB", kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def test_decodes_what_has_the_form_already():
    np.testing.assert_array_equal(ImageDecoder(9).decode(encoded()), PIXELS)
    jpeg = encoded(kind="JPEG", quality=75)
    np.testing.assert_array_equal(ImageDecoder(9).decode(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))


def test_grey_files_are_read_as_colour_and_as_grey():
    grey = PIXELS[..., 0]
    assert (ImageDecoder(9).decode(encoded(grey, "L")) == grey[..., None]).all()
    np.testing.assert_array_equal(ImageDecoder(9, mode="L").decode(encoded(grey, "L")), grey[..., None])


def test_other_sizes_are_fitted_by_the_function_given():
    big = np.zeros((40, 20, 3), np.uint8)
    form = ImageDecoder(9, lambda image: image.resize((9, 9)))
    assert form.decode(encoded(big)).shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(PIXELS[:5]), "is 9x5 instead of 9x9"),
        (encoded(mode="RGBA"), "has mode RGBA instead of RGB"),
        (encoded(mode="P"), "has mode P"),
        (encoded()[:60], "is damaged"),
        (encoded(kind="JPEG")[:-200], "is damaged"),
        (encoded(kind="GIF"), "is no JPEG or PNG"),
        (b"", "is no JPEG or PNG"),
        (b"<html>not found</html>", "is no JPEG or PNG"),
    ],
    ids=["size", "mode", "palette", "cut png", "cut jpeg", "gif", "empty", "html"],
)
def test_what_is_wrong_is_said_in_few_words(data, reason):
    with pytest.raises(Unusable, match=reason):
        ImageDecoder(9).decode(data)
    with pytest.raises(Unusable, match="has mode RGB instead of L"):
        ImageDecoder(9, mode="L").decode(encoded())


def test_caching_reads_each_file_and_names_those_that_fail(tmp_path):
    files = {f"{index}.png": encoded(PIXELS + np.uint8(index)) for index in range(5)}
    told = []
    context = DataContext(tmp_path, progress=lambda text, done, total: told.append((text, done, total)))

    def load(contents):
        names = list(files)

        def read(row):
            if names[row] not in contents:
                raise FileNotFoundError(2, "No such file or directory")
            warnings.warn("odd metadata", UserWarning, stacklevel=1)  # as Pillow does; an error in these tests
            return contents[names[row]]

        source = ImageSource(names, read, "set: images", "get them")
        return cached_images(tmp_path / "a.npy", ImageDecoder(9), source, context, plan="p")

    with pytest.raises(MetabenchError, match=r"set: images: 2 of 5 cannot be used: 1.png \(cannot be read: No such "):
        load({name: data for name, data in files.items() if name not in ("1.png", "3.png")})
    np.testing.assert_array_equal(load(files)[4], PIXELS + np.uint8(4))
    assert told[-1] == ("decoding", 5, 5)
