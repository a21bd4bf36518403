//! Makes thumbnails of photos.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use image::{ExtendedColorType, ImageFormat};
use lovage_guest::{Bytes, Failure, data, info, progress, task};

/// A photo to make smaller.
#[data]
struct Resize {
    /// The photo as a JPEG file.
    photo: Bytes,
    /// The thumbnail's width in pixels; a photo that is narrower keeps its own.
    width: u32,
}

/// A small photo.
#[data]
struct Thumb {
    /// The thumbnail as a JPEG file.
    jpeg: Bytes,
    width: u32,
    height: u32,
    /// The photo in 16 by 16 pixels, three bytes each (red, green, blue), row by row: enough to
    /// tell its colours.
    swatch: Bytes,
}

const SWATCH_SIDE: u32 = 16;
const QUALITY: u8 = 85;

/// Makes a thumbnail of a photo, in its proportions, and a swatch of its colours.
#[task]
fn resize(input: Resize) -> Result<Thumb, Failure> {
    if input.width == 0 {
        return Err(Failure::permanent("a thumbnail of width 0 was asked for"));
    }
    let photo = image::load_from_memory_with_format(&input.photo, ImageFormat::Jpeg)
        .map_err(Failure::permanent)?
        .into_rgb8();
    progress(1.0, 3.0, "decoded");
    let width = input.width.min(photo.width());
    let height = height_of(photo.width(), photo.height(), width);
    info!("{} x {} pixels become {width} x {height}", photo.width(), photo.height());

    let small = thumbnail(&photo, width, height);
    let swatch = thumbnail(&photo, SWATCH_SIDE, SWATCH_SIDE);
    progress(2.0, 3.0, "scaled");

    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(
        &small,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    progress(3.0, 3.0, "encoded");
    Ok(Thumb { jpeg: jpeg.into(), width, height, swatch: swatch.into_raw().into() })
}

/// The height that keeps the proportions, at least a pixel. It fits, since it is at most the
/// photo's.
fn height_of(photo_width: u32, photo_height: u32, width: u32) -> u32 {
    let height = u64::from(photo_height) * u64::from(width) / u64::from(photo_width.max(1));
    u32::try_from(height).unwrap_or(photo_height).max(1)
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
    fn what_is_no_photo_is_refused_for_good() {
        let input = Resize { photo: b"no photo".to_vec().into(), width: 10 };
        assert!(resize(input).is_err_and(|failure| !failure.is_retryable()));
    }
}
