"""How far the DCT-domain operator is from the pipeline of integer pixels: Pillow's decode, resize and crop, then YCbCr and a DCT.

Both differ where Pillow rounds: samples to 8 bits after decoding and again after each axis of the resize, and clamped; chroma is
brought to full resolution (libjpeg's "fancy" upsampling), converted to RGB and rounded there. The orthonormal DCT keeps distances,
so a root mean square of coefficients is one of samples. Reported for luma, and for chroma in two ways:

* "chroma": Pillow's 224 x 224 RGB picture, converted and averaged 2 x 2, as an encoder would do it. That is another filter than the
  operator's, which brings chroma to half resolution in one step.
* "chroma, same filter": Cb and Cr as libjpeg decodes them, resized by Pillow to 112 x 112 in one step. What is left is rounding (and
  the upsampling of subsampled files).

Signal-to-noise is against the mean square of the picture's AC coefficients.

    pip install numpy pillow safetensors
    cargo build --release --example network_input
    python tests/reference/pillow_distance.py [--json OUT] FILES...

With no FILES, 8 pictures of its own are made. For files of one component or YCbCr.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import PIL
from PIL import Image, ImageOps
from safetensors.numpy import load_file

PROGRAM = pathlib.Path(__file__).parents[2] / "target" / "release" / "examples" / "network_input"
SHORT_SIDE, CROP = 256, 224


def dct_matrix():
    u, x = np.arange(8)[:, None], np.arange(8)[None, :]
    return np.where(u == 0, np.sqrt(1 / 8), 0.5 * np.cos((2 * x + 1) * u * np.pi / 16))


def blocks_of(samples):
    """[h, w] samples to [h / 8, w / 8, 64] coefficients."""
    h, w = samples.shape
    d = dct_matrix()
    blocks = samples.reshape(h // 8, 8, w // 8, 8).transpose(0, 2, 1, 3)
    return (d @ blocks @ d.T).reshape(h // 8, w // 8, 64)


def resize_and_crop(image, short_side, crop):
    w, h = image.size
    size = (short_side, short_side * h // w) if w <= h else (short_side * w // h, short_side)
    left, top = (round((side - crop) / 2) for side in size)
    return image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + crop, top + crop))


def ycbcr_of(rgb):
    """JFIF, level-shifted: [h, w, 3] float."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return [y - 128, (b - y) / 1.772, (r - y) / 1.402]


def averaged(plane):
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def pillow_input(path):
    """Luma, chroma, and chroma by the same filter, of the integer pipeline."""
    decoded = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    y, cb, cr = ycbcr_of(np.asarray(resize_and_crop(decoded, SHORT_SIDE, CROP)))
    chroma = np.concatenate([blocks_of(averaged(cb)), blocks_of(averaged(cr))], axis=-1)
    planes = decoded_ycbcr(path).split()[1:]
    same_filter = [half_resolution(plane) for plane in planes]
    return blocks_of(y), chroma, np.concatenate(same_filter, axis=-1)


def decoded_ycbcr(path):
    """As libjpeg gives it, without a way through RGB."""
    image = Image.open(path)
    image.draft("YCbCr", None)
    return ImageOps.exif_transpose(image).convert("YCbCr")


def half_resolution(plane):
    """The same box of the picture as the evaluation's centre crop, to half as many samples."""
    w, h = plane.size
    size = (SHORT_SIDE, SHORT_SIDE * h // w) if w <= h else (SHORT_SIDE * w // h, SHORT_SIDE)
    box = []
    for length, resized in ((w, size[0]), (h, size[1])):
        offset = round((resized - CROP) / 2)
        box.append((offset * length / resized, (offset + CROP) * length / resized))
    (left, right), (top, bottom) = box
    small = plane.resize((CROP // 2, CROP // 2), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return blocks_of(np.asarray(small).astype(np.float64) - 128)


def operator_input(path, folder):
    out = pathlib.Path(folder) / "input.safetensors"
    subprocess.run([PROGRAM, path, out, f"short={SHORT_SIDE},crop={CROP}"], check=True)
    tensors = load_file(out)
    return tensors["y"].astype(np.float64), tensors["c"].astype(np.float64)


def own_pictures(folder):
    """Sums of waves and a sharp edge, 4:4:4 and 4:2:0 by turns."""
    random = np.random.default_rng(1)
    for i in range(8):
        y, x = np.mgrid[0:375, 0:500]
        picture = np.full((375, 500, 3), 128.0)
        for _ in range(40):
            fx, fy = random.normal(size=2) * 0.3 * random.random() ** 2
            amplitude = 8 / (0.15 + np.hypot(fx, fy) * 3)
            picture += amplitude * np.sin(fx * x + fy * y + random.random() * 7)[..., None] * random.random(3)
        picture[(x + y * random.normal()) % 190 < 60] *= random.random(3)
        path = pathlib.Path(folder) / f"{i}.jpg"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path, quality=92, subsampling=2 * (i % 2))
        yield path


def distances(paths):
    squares, signal, largest = {}, {}, {}
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            y, c = operator_input(path, folder)
        luma, chroma, same_filter = pillow_input(path)
        for name, ours, pillows in (("luma", y, luma), ("chroma", c, chroma), ("chroma, same filter", c, same_filter)):
            ac = np.arange(ours.shape[-1]) % 64 != 0
            squares.setdefault(name, []).append(np.mean((ours - pillows) ** 2))
            signal.setdefault(name, []).append(np.mean(pillows[..., ac] ** 2))
            largest.setdefault(name, []).append(np.abs(ours - pillows).max())
    return {
        name: {
            "rms": round(float(np.sqrt(np.mean(squares[name]))), 4),
            "worst_image_rms": round(float(np.sqrt(np.max(squares[name]))), 4),
            "largest_difference": round(float(np.max(largest[name])), 2),
            "signal_to_noise_db": round(float(10 * np.log10(np.mean(signal[name]) / np.mean(squares[name]))), 1),
        }
        for name in squares
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILES")
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="also write the report here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = arguments.files or list(own_pictures(folder))
        report = {"pillow": PIL.__version__, "images": len(paths), "unit": "sample values, 0 to 255"} | distances(paths)
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
