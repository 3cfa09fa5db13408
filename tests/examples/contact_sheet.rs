//! Lays the newest spin of a data folder out as one picture: `contact_sheet DATA_DIR OUT.jpg`. `./dev sheet` calls it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

const COLUMNS: usize = 9;
/// Largest side of the thumbnails that are laid out.
const SIDE: &str = "_150.jpg";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(data), Some(out)) = (args.next(), args.next()) else {
        bail!("usage: contact_sheet DATA_DIR OUT.jpg")
    };
    let thumbs = thumbnails(&Path::new(&data).join("spool/thumbs"))?;
    let tiles: Vec<Image<Vec<u8>>> = thumbs.iter().map(|path| tile(path)).collect::<Result<_>>()?;
    let jpeg = sheet(&tiles)?;
    std::fs::write(&out, jpeg).with_context(|| format!("cannot write {out}"))?;
    println!("{} frames on {out}", tiles.len());
    Ok(())
}

/// The small thumbnails of the newest session, in the order of the spin.
fn thumbnails(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("no thumbnails in {}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.sort();
        Ok(paths)
    };
    let newest = list(folder)?.pop().context("no session has thumbnails")?;
    let mut small = list(&newest)?;
    small.retain(|path| path.to_string_lossy().ends_with(SIDE));
    Ok(small)
}

fn tile(path: &Path) -> Result<Image<Vec<u8>>> {
    let bytes = std::fs::read(path)?;
    turbojpeg::decompress(&bytes, PixelFormat::RGB).with_context(|| path.display().to_string())
}

fn sheet(tiles: &[Image<Vec<u8>>]) -> Result<Vec<u8>> {
    let first = tiles.first().context("no frames")?;
    let (width, height) = (first.width, first.height);
    let row = COLUMNS * width * 3;
    let rows = tiles.len().div_ceil(COLUMNS);
    let mut pixels = vec![255; row * height * rows];
    for (index, tile) in tiles.iter().enumerate() {
        let left = (index % COLUMNS) * width * 3;
        for y in 0..height.min(tile.height) {
            let to = ((index / COLUMNS) * height + y) * row + left;
            let length = width.min(tile.width) * 3;
            pixels[to..to + length].copy_from_slice(&tile.pixels[y * tile.pitch..y * tile.pitch + length]);
        }
    }
    let mut compressor = Compressor::new()?;
    compressor.set_quality(88)?;
    compressor.set_subsamp(Subsamp::None)?;
    let image = Image {
        pixels: pixels.as_slice(),
        width: COLUMNS * width,
        pitch: row,
        height: height * rows,
        format: PixelFormat::RGB,
    };
    Ok(compressor.compress_to_vec(image)?)
}
