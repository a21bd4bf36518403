//! Makes thumbnails of photos.

use std::ops::Range;

use jpeg_encoder::{ColorType, Encoder};
use lovage_guest::{Bytes, Failure, data, info, progress, task};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A photo to make smaller.
#[data]
struct Resize {
    /// The photo as a JPEG file.
    photo: Bytes,
    /// The thumbnail's width in pixels; a photo that is narrower keeps its own.
    width: u16,
}

/// A small photo.
#[data]
struct Thumb {
    /// The thumbnail as a JPEG file.
    jpeg: Bytes,
    width: u16,
    height: u16,
    /// The photo in 16 by 16 pixels, three bytes each (red, green, blue), row by row: enough to
    /// tell its colours.
    swatch: Bytes,
}

const SWATCH_SIDE: u16 = 16;
const QUALITY: u8 = 85;

/// Makes a thumbnail of a photo, in its proportions, and a swatch of its colours.
#[task]
fn resize(input: Resize) -> Result<Thumb, Failure> {
    if input.width == 0 {
        return Err(Failure::permanent("a thumbnail of width 0 was asked for"));
    }
    let photo = Picture::decode(&input.photo)?;
    progress(1.0, 3.0, "decoded");
    let width = input.width.min(photo.width);
    let height = height_of(photo.width, photo.height, width);
    info!("{} x {} pixels become {width} x {height}", photo.width, photo.height);

    let small = photo.scaled(width, height);
    let swatch = photo.scaled(SWATCH_SIDE, SWATCH_SIDE);
    progress(2.0, 3.0, "scaled");

    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY).encode(&small.rgb, width, height, ColorType::Rgb)?;
    progress(3.0, 3.0, "encoded");
    Ok(Thumb { jpeg: jpeg.into(), width, height, swatch: swatch.rgb.into() })
}

/// The height that keeps the proportions, at least a pixel; it is at most the photo's.
fn height_of(photo_width: u16, photo_height: u16, width: u16) -> u16 {
    let height = u32::from(photo_height) * u32::from(width) / u32::from(photo_width.max(1));
    u16::try_from(height).unwrap_or(photo_height).max(1)
}

/// Pixels of three bytes each, row by row.
struct Picture {
    width: u16,
    height: u16,
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads a JPEG file; one that cannot be read never will be.
    fn decode(file: &[u8]) -> Result<Self, Failure> {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
        let rgb = decoder.decode().map_err(Failure::permanent)?;
        match decoder.dimensions() {
            Some((width, height)) if width > 0 && height > 0 => Ok(Self {
                width: u16::try_from(width).map_err(Failure::permanent)?,
                height: u16::try_from(height).map_err(Failure::permanent)?,
                rgb,
            }),
            _ => Err(Failure::permanent("the photo has no pixels")),
        }
    }

    /// The picture in another size, each pixel the mean of those that fall on it.
    fn scaled(&self, width: u16, height: u16) -> Self {
        let mut rgb = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
        for y in 0..height {
            let rows = covered(y, height, self.height);
            for x in 0..width {
                rgb.extend(self.mean(covered(x, width, self.width), rows.clone()));
            }
        }
        Self { width, height, rgb }
    }

    fn mean(&self, columns: Range<usize>, rows: Range<usize>) -> [u8; 3] {
        let count = u32::try_from(columns.len() * rows.len()).unwrap_or(u32::MAX).max(1);
        let mut sum = [0_u32; 3];
        for row in
            self.rgb.chunks_exact(usize::from(self.width) * 3).take(rows.end).skip(rows.start)
        {
            for pixel in row.chunks_exact(3).take(columns.end).skip(columns.start) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += u32::from(*value);
                }
            }
        }
        sum.map(|sum| u8::try_from(sum / count).unwrap_or(u8::MAX))
    }
}

/// Which of `from` columns or rows fall on place `at` of `to`: at least one.
fn covered(at: u16, to: u16, from: u16) -> Range<usize> {
    let edge = |at: usize| at * usize::from(from) / usize::from(to.max(1));
    let start = edge(usize::from(at));
    start..edge(usize::from(at) + 1).max(start + 1)
}

lovage_guest::export!(resize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_proportions() {
        assert_eq!(height_of(600, 400, 300), 200);
        assert_eq!(height_of(10_000, 1, 10), 1);
    }

    #[test]
    fn every_pixel_falls_on_one_place_when_a_picture_shrinks() {
        let places: Vec<_> = (0..3).map(|at| covered(at, 3, 7)).collect();
        assert_eq!(places, [0..2, 2..4, 4..7]);
        assert_eq!(covered(1, 4, 2), 0..1);
        let picture = Picture { width: 2, height: 1, rgb: vec![0, 10, 20, 10, 20, 40] };
        assert_eq!(picture.scaled(1, 1).rgb, [5, 15, 30]);
    }

    #[test]
    fn what_is_no_photo_is_refused_for_good() {
        let input = Resize { photo: b"no photo".to_vec().into(), width: 10 };
        assert!(resize(input).is_err_and(|failure| !failure.is_retryable()));
    }
}
