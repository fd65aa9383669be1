//! Compiles the C part against the headers of the libjpeg-turbo that turbojpeg-sys has built.

fn main() {
    println!("cargo:rerun-if-changed=src/read.c");
    let mut build = cc::Build::new();
    build.file("src/read.c");
    if let Ok(paths) = std::env::var("DEP_TURBOJPEG_INCLUDE") {
        build.includes(paths.split(','));
    }
    build.compile("read");
}
