//! Files to coefficients, on whatever device: the commands see no difference.

use std::panic::catch_unwind;

use dctflow::cpu::{self, Decoded};
use dctflow::jpeg::Limits;
use dctflow::session::{BatchDecoder, Device, DeviceChoice};
use dctflow::sources::{Item, Sources};
use dctflow::{ImageError, Result};
use rayon::prelude::*;

use super::output::say;
use super::parallel::{for_each_group, for_each_in_order};

/// Files that a device is given at a time.
const DEVICE_GROUP_LEN: usize = 256;

/// Coefficients that a device decodes at a time: the host holds as many.
const DEVICE_PART_BYTES: u64 = 512 << 20;

/// Decodes files in groups: in threads of the CPU, or as batches on a device.
pub struct FileDecoder {
    kind: DeviceChoice,
    on_device: Option<BatchDecoder>,
    pool: rayon::ThreadPool,
    limits: Limits,
}

impl FileDecoder {
    /// A decoder on `device`. What runs on the CPU runs in `pool`.
    pub fn new(device: Device, pool: rayon::ThreadPool, limits: Limits) -> Result<Self> {
        let mut on_device = device.handle.as_ref().map(BatchDecoder::new).transpose()?;
        if let Some(decoder) = &mut on_device {
            decoder.limits = limits.clone();
            decoder.max_batch_bytes = DEVICE_PART_BYTES;
        }
        Ok(Self { kind: device.kind, on_device, pool, limits })
    }

    /// Decodes every file of `sources`, runs `work` on each, in parallel, and hands the results to `sink` in input order.
    pub fn for_each_in_order<R: Send>(
        &mut self,
        sources: &Sources,
        work: impl Fn(&Item, Decoded) -> R + Sync,
        sink: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let Self { on_device, pool, limits, .. } = self;
        match on_device {
            Some(decoder) => {
                let decode = |group: &[Item]| pool.install(|| decode_group(decoder, group, &work));
                for_each_group(DEVICE_GROUP_LEN, sources, decode, sink)
            }
            None => for_each_in_order(pool, sources, |item| work(item, decode_item(item, limits)), sink),
        }
    }

    /// Says on standard error how many images a device decoded, and what it left to the CPU.
    pub fn say_where(&self) {
        let Some(stats) = self.on_device.as_ref().map(BatchDecoder::stats) else { return };
        let left: Vec<String> =
            stats.on_cpu.iter().map(|(reason, count)| format!("{count} ({})", reason.name())).collect();
        let on_cpu = match left.is_empty() {
            true => "none".into(),
            false => format!("{}, in {:.3} s of its time", left.join(", "), stats.cpu_time.as_secs_f64()),
        };
        say(format_args!("decoded on the device {}: {}; on the CPU: {on_cpu}", self.kind, stats.on_device));
    }
}

/// Decodes a group as one batch, or as several where it is large.
fn decode_group<R: Send>(
    decoder: &mut BatchDecoder,
    group: &[Item],
    work: &(impl Fn(&Item, Decoded) -> R + Sync),
) -> Result<Vec<R>> {
    let readable: Vec<&Item> = group.iter().filter(|item| item.bytes.is_ok()).collect();
    let files: Vec<&[u8]> = readable.iter().filter_map(|item| item.bytes.as_deref().ok()).collect();
    let mut results = Vec::with_capacity(files.len());
    decoder.decode_in_parts(&files, |part| {
        let items = &readable[results.len()..][..part.len()];
        results.par_extend(items.par_iter().zip(part).map(|(item, decoded)| work(item, decoded)));
    })?;
    let mut results = results.into_iter();
    let in_order = group.iter().map(|item| match &item.bytes {
        Ok(_) => results.next(),
        Err(reason) => Some(work(item, Decoded::failed(reason.clone(), 0))),
    });
    Ok(in_order.flatten().collect())
}

/// Decodes one file on the CPU; a mistake of the library costs this file and no other.
fn decode_item(item: &Item, limits: &Limits) -> Decoded {
    match &item.bytes {
        Ok(bytes) => {
            catch_unwind(|| cpu::decode(bytes, limits)).unwrap_or_else(|_| Decoded::failed(ImageError::Internal, 0))
        }
        Err(reason) => Decoded::failed(reason.clone(), 0),
    }
}
