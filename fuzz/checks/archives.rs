//! What must hold for any bytes in a tar shard or a Parquet table.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use dctflow::sources::{Item, ItemName, Sources};

/// Less than a file has, so that some members are over it.
const MAX_FILE_BYTES: u64 = 10_000;

/// The members of a shard are visited, each with its bytes or a reason; no more than there is room for, and again the same.
pub fn tar(bytes: &[u8]) {
    // A member takes a header of 512 bytes; the last item may say why there are no more.
    visit_twice("tar", bytes, bytes.len() / 512 + 1);
}

/// The rows of a table are visited, each with its bytes or a reason, and again the same.
#[cfg(feature = "parquet")]
pub fn parquet(bytes: &[u8]) {
    // Rows are paid for, 128 bytes each, but for a thousand; the last item may say why there are no more.
    visit_twice("parquet", bytes, bytes.len() / 128 + 1_001);
}

fn visit_twice(extension: &str, bytes: &[u8], max_items: usize) {
    static NUM_FILES: AtomicU64 = AtomicU64::new(0);
    let file_idx = NUM_FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("check-{}-{file_idx}.{extension}", std::process::id());
    let path = super::scratch_folder().join(name);
    std::fs::write(&path, bytes).expect("a place for temporary files");
    let items = visit(&path);
    let again = visit(&path);
    std::fs::remove_file(&path).expect("the file");
    assert!(!items.is_empty() && items.len() <= max_items, "{} items of {} bytes", items.len(), bytes.len());
    assert!(items == again, "{} items, and then {}", items.len(), again.len());
}

type Seen = (ItemName, Option<i64>, Result<Vec<u8>, &'static str>);

fn visit(path: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    Sources::new([path], MAX_FILE_BYTES).for_each(|Item { name, label, bytes }| {
        assert_eq!(name.path, path);
        assert!(bytes.as_ref().is_ok_and(|bytes| bytes.len() as u64 <= MAX_FILE_BYTES) || bytes.is_err());
        seen.push((name, label, bytes.map_err(|reason| reason.code())));
        ControlFlow::Continue(())
    });
    seen
}
