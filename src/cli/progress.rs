//! Progress on standard error: only at a terminal, and, but for bars that give way to lines, only while standard output is none.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A counter of images. Nothing is drawn where nobody sees it, or where it would run into the lines of results.
pub fn images() -> ProgressBar {
    spinner("{spinner} {human_pos} images, {per_sec}, {elapsed}")
}

/// A spinner with a message.
pub fn message(text: &'static str) -> ProgressBar {
    spinner("{spinner} {msg}").with_message(text)
}

/// A bar over `seconds` of measuring.
pub fn seconds(seconds: f64) -> ProgressBar {
    if is_hidden() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new((seconds * 1000.0) as u64);
    styled(bar, "{msg} [{bar:30}] {elapsed}")
}

/// A bar over `num_images` of work.
pub fn share_of(num_images: u64) -> ProgressBar {
    bar_of_images(num_images, is_hidden())
}

/// The same for a command that writes its lines only while no bar stands: it is drawn also where both go to one terminal.
#[cfg(feature = "torch")]
pub fn between_lines(num_images: u64) -> ProgressBar {
    bar_of_images(num_images, !std::io::stderr().is_terminal())
}

fn bar_of_images(num_images: u64, is_hidden: bool) -> ProgressBar {
    if is_hidden {
        return ProgressBar::hidden();
    }
    styled(ProgressBar::new(num_images), "{msg} [{bar:30}] {human_pos} of {human_len} images, {eta} left")
}

fn spinner(template: &str) -> ProgressBar {
    if is_hidden() {
        return ProgressBar::hidden();
    }
    let bar = styled(ProgressBar::new_spinner(), template);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The templates are constants; should one be wrong, the default style serves.
fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn is_hidden() -> bool {
    !std::io::stderr().is_terminal() || std::io::stdout().is_terminal()
}
