//! Work on many files without a session: in groups, results in input order, a bounded number of files in memory.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use dctflow::Result;
use dctflow::sources::{Item, Sources};
use rayon::prelude::*;

/// A group is closed when its files reach this size, however few they are.
const MAX_GROUP_BYTES: usize = 64 << 20;

/// Reads `sources` in one thread, runs `work` on file after file in `pool`, and hands the results to `sink` in input order.
pub fn for_each_in_order<R: Send>(
    pool: &rayon::ThreadPool,
    sources: &Sources,
    work: impl Fn(&Item) -> R + Sync,
    sink: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let in_pool = |group: &[Item]| Ok(pool.install(|| group.par_iter().with_max_len(1).map(&work).collect()));
    for_each_group(4 * pool.current_num_threads(), sources, in_pool, sink)
}

/// Reads `sources` in one thread, runs `work` on groups of at most `group_len` files, and hands the results to `sink` in input order.
pub fn for_each_group<R>(
    group_len: usize,
    sources: &Sources,
    mut work: impl FnMut(&[Item]) -> Result<Vec<R>>,
    mut sink: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, groups) = sync_channel::<Vec<Item>>(1);
        scope.spawn(move || {
            let mut group = Vec::new();
            let mut num_bytes = 0;
            sources.for_each(|item| {
                num_bytes += item.bytes.as_ref().map_or(0, Vec::len);
                group.push(item);
                if group.len() < group_len && num_bytes < MAX_GROUP_BYTES {
                    return ControlFlow::Continue(());
                }
                num_bytes = 0;
                // Nobody receives any more once the sink has failed.
                sender.send(std::mem::take(&mut group)).map_or(ControlFlow::Break(()), ControlFlow::Continue)
            });
            let _ = sender.send(group);
        });
        for group in groups {
            work(&group)?.into_iter().try_for_each(&mut sink)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_input_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in 10..50 {
            std::fs::write(dir.path().join(name.to_string()), name.to_string()).unwrap();
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let sources = Sources::new([dir.path()], 100);
        let mut seen = Vec::new();
        let keep = |bytes| {
            seen.push(bytes);
            Ok(())
        };
        for_each_in_order(&pool, &sources, |item| item.bytes.clone().unwrap(), keep).unwrap();
        assert_eq!(seen, (10..50).map(|name| name.to_string().into_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn a_sink_that_fails_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        for name in 0..100 {
            std::fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let sources = Sources::new([dir.path()], 100);
        let fail = |()| Err(dctflow::Error::new(dctflow::ErrorKind::Io, "full"));
        assert!(for_each_in_order(&pool, &sources, |_| (), fail).is_err());
    }
}
