//! Writes small JPEG files of many kinds into a folder: seeds for fuzzing, and something to try the program on.
//! `cargo run --example write_test_files -- FOLDER`

use std::path::PathBuf;

#[path = "../tests/common/matrix.rs"]
mod matrix;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: write_test_files FOLDER"));
    std::fs::create_dir_all(&folder)?;
    let points = matrix::points();
    for point in &points {
        std::fs::write(folder.join(format!("{}.jpg", point.name)), point.build().1.to_bytes())?;
    }
    eprintln!("{} files in {}", points.len(), folder.display());
    Ok(())
}
