"""Bytes from anywhere become small JPEG files, or one named fault."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from behavesim.data.pictures.jpeg import PictureFault, picture_type, to_jpeg

MOST = 1_000_000
KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000")


def opened(content):
    picture = Image.open(BytesIO(content))
    picture.load()
    return picture


def small(content, size=32, **options):
    return opened(to_jpeg(content, size=size, max_pixels=MOST, **options))


def png_header(width, height):
    """A PNG of one bit a pixel, all black: it unpacks to 3000 times its size."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_is_read_off_the_bytes(kind, as_bytes, noisy):
    assert picture_type(as_bytes(noisy(20, 10), kind), max_pixels=200) == kind.lower()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "GIF"])  # whose rows may simply end
def test_a_picture_that_was_cut_off_is_a_fault(kind, as_bytes, noisy):
    whole = as_bytes(noisy(200, 200), kind)
    for part in (0.3, 0.9):
        with pytest.raises(PictureFault):
            picture_type(whole[: int(len(whole) * part)], max_pixels=MOST)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_fault_of_a_cut_jpeg_tells_where_it_ends(progressive, as_bytes, noisy):
    half = as_bytes(noisy(200, 200), progressive=progressive, quality=90)[:12_345]
    with pytest.raises(PictureFault, match=r"^cut off after 12,345 bytes$"):
        picture_type(half, max_pixels=MOST)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "nothing"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\xef\xbb\xbf\n <HTML>", "HTML"),
        (b'<?xml version="1.0"?><svg/>', "XML"),
        (b'{"error": 1}', "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"\x00\x00\x00\x18ftypmp42", "a video"),
        (b"no such\npicture", "text"),
        (b"\xff\xd8\xff", "a broken JPEG"),
        (b"\x00\x01\x02", "unknown bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),  # Pillow would start a program for it
    ],
)
def test_what_is_no_picture_is_named(content, found):
    for read in (lambda: picture_type(content, max_pixels=MOST), lambda: small(content)):
        with pytest.raises(PictureFault, match=rf"^no picture \(found {found}\)$"):
            read()


def test_too_many_pixels_are_refused_before_they_are_decoded():
    with pytest.raises(PictureFault, match=r"^8000 x 9000 is over 50 megapixels$"):
        picture_type(png_header(8000, 9000), max_pixels=50_000_000)
    # Larger than Pillow itself allows.
    with pytest.raises(PictureFault, match=r"^over 50 megapixels$"):
        to_jpeg(png_header(20_000, 20_000), size=32, max_pixels=50_000_000)


@pytest.mark.parametrize("shape", [(640, 480), (480, 640), (33, 32), (1000, 40), (40, 32)])
def test_the_shorter_side_is_scaled_and_the_proportions_stay(shape, as_bytes, noisy):
    picture = small(as_bytes(noisy(*shape)))
    scale = 32 / min(shape)
    assert picture.format == "JPEG"
    assert picture.mode == "RGB"
    assert picture.size == tuple(round(side * scale) for side in shape)


@pytest.mark.parametrize("shape", [(32, 32), (5, 7), (1, 1), (1, 300)])
def test_nothing_is_enlarged(shape, as_bytes, noisy):
    assert small(as_bytes(noisy(*shape), "PNG")).size == shape


def test_a_side_that_no_jpeg_can_have_is_scaled_down(as_bytes):
    content = as_bytes(Image.new("L", (100_000, 4)), "PNG")
    assert small(content).size == (65_500, 3)


# The red corner of the upright picture is its top left one.
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(kind, orientation, as_bytes):
    upright = Image.new("RGB", (64, 48), "blue")
    upright.paste("red", (0, 0, 32, 24))
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # the Transpose that the orientation takes back
    turned = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = small(as_bytes(turned, kind, exif=exif), size=24)
    assert picture.size == (32, 24)
    red, green, blue = picture.getpixel((6, 4))
    assert red > 200 > 60 > max(green, blue)
    assert picture.getpixel((26, 18))[2] > 200


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_shows_through(mode, as_bytes):
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 20, 40))
    if mode == "P":
        picture = picture.convert("P")
        picture.info["transparency"] = picture.getpixel((30, 20))
    picture = small(as_bytes(picture if mode == "P" else picture.convert(mode), "PNG"))
    assert max(picture.getpixel((4, 16))) < 20
    assert min(picture.getpixel((28, 16))) > 235


def test_a_key_colour_is_transparent(as_bytes):
    content = as_bytes(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert small(content).getpixel((4, 4)) == (255, 255, 255)


def test_grey_of_16_bits_is_scaled_not_clipped(as_bytes):
    ramp = np.linspace(0, 65_535, 64, dtype=np.uint16).repeat(64).reshape(64, 64)
    for kind in ("PNG", "TIFF"):
        values = np.asarray(small(as_bytes(Image.fromarray(ramp), kind), size=64))[:, 32, 0]
        np.testing.assert_allclose(values, np.linspace(0, 255, 64), atol=4)
    # Nearly black stays so.
    assert small(as_bytes(Image.fromarray(ramp // 256), "PNG")).getextrema()[0][1] < 8
    wide = as_bytes(Image.fromarray(ramp.astype(np.int32)), "TIFF")
    assert small(wide).getextrema()[0][1] > 240


def test_fractions_and_single_bits_become_grey(as_bytes):
    half = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    assert abs(small(as_bytes(half, "TIFF")).getpixel((4, 4))[0] - 128) <= 2
    assert small(as_bytes(Image.new("1", (8, 8), 1), "PNG")).getpixel((4, 4)) == (255, 255, 255)


def test_printers_colours_become_rgb(as_bytes):
    content = as_bytes(Image.new("CMYK", (32, 32), (0, 255, 255, 0)))
    red, green, blue = small(content).getpixel((16, 16))
    assert red > 200 > 80 > max(green, blue)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_is_taken(kind, as_bytes):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = as_bytes(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert small(content).getpixel((8, 8))[0] > 240


def test_no_metadata_is_kept(as_bytes, noisy):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    content = as_bytes(noisy(40, 40), exif=exif, comment=b"a comment", dpi=(300, 300), icc_profile=b"profile")
    written = to_jpeg(content, size=32, max_pixels=MOST)
    assert not {"exif", "comment", "icc_profile", "xmp"} & set(opened(written).info)
    assert b"a c" not in written


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_no_harm(as_bytes, noisy):
    content = as_bytes(noisy(40, 30), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x12\x01")
    assert small(content).size == (40, 30)


def test_threads_and_repetitions_agree(as_bytes, noisy):
    contents = [as_bytes(noisy(300, 200, seed), kind) for seed, kind in enumerate(("JPEG", "PNG", "WEBP") * 4)]

    def one(content):
        return to_jpeg(content, size=64, max_pixels=MOST)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, contents)) == [one(content) for content in contents]


def only_faults(content):
    for read in (
        lambda: picture_type(content, max_pixels=MOST),
        lambda: to_jpeg(content, size=16, max_pixels=MOST),
    ):
        try:
            assert read()
        except PictureFault as fault:
            assert 0 < len(str(fault)) < 200


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_else(content):
    only_faults(content)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what it reads
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    end=st.floats(0.05, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
def test_damaged_pictures_raise_nothing_else(kind, end, changes, as_bytes, noisy):
    content = bytearray(as_bytes(noisy(24, 16), kind))
    for place, value in changes:
        content[int(place**2 * len(content))] = value  # headers, where it hurts, lie in front
    only_faults(bytes(content[: int(len(content) * end)]))
