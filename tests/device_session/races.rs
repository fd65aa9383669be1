//! A caller's stream that is joined by a session: kernels of the caller's before and after every batch, memory used again at once, thousands of
//! batches, and not one wait of the host. Known defects of other decoders have this shape: results that somebody reads too early, or that are
//! written too late into memory that is somebody else's by then.

use std::sync::Arc;

use dctflow::abi::{ChecksumWords, ChecksumWordsParams, ConvolveParams};
use dctflow::device::emulator::Schedule;
use dctflow::device::{DeviceBuffer, Grid, Ops, Stream};
use dctflow::session::{Batch, Device, ForgottenWait, Session};

use super::{CLASSES, Kind, batch, device, handle, is_gpu, picture, small_session};

/// Stands for the network's convolutions, which take nearly all of the emulator's time and have no part in any race: the first values of the input
/// become the first values of the output, in the same order of work on the same memory.
#[derive(Debug)]
struct Passing;

impl Ops for Passing {
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> dctflow::Result<()> {
        let bytes = if params.is_float == 1 { CLASSES * size_of::<f32>() } else { 16 };
        let slice = |pointer: *const u16| {
            // SAFETY: values are longer than this, and live as long as the convolution would need them.
            unsafe { DeviceBuffer::from_raw(stream.device(), pointer as u64, bytes) }
        };
        let from = slice(params.input);
        let outputs = params.outputs.iter().filter(|output| !output.values.is_null());
        outputs
            .map(|output| slice(output.values.cast_const().cast()))
            .try_for_each(|to| stream.copy(to.all(), from.all()))
    }
}

/// How batches are run.
struct Race {
    schedule: Schedule,
    num_batches: usize,
    forgotten: Option<ForgottenWait>,
    /// The network itself, not [`Passing`]; always so on a GPU.
    has_network: bool,
    slots: usize,
}

impl Race {
    fn new(schedule: Schedule, num_batches: usize) -> Self {
        Self { schedule, num_batches, forgotten: None, has_network: false, slots: 2 }
    }

    fn session(&self, device: &Device, stream: &Stream) -> Session {
        // SAFETY: the caller's stream outlives the session.
        let joined = unsafe { Stream::from_raw(handle(device), stream.handle().0) }.unwrap();
        small_session(device, |builder| {
            let mut builder = builder.slots(self.slots).max_batch(1).stream(Arc::new(joined));
            if !is_gpu() && !self.has_network {
                builder = builder.ops(Arc::new(Passing));
            }
            match self.forgotten {
                Some(wait) => builder.forgetting(wait),
                None => builder,
            }
        })
    }

    /// How many of the caller's kernels have met other logits than they should.
    fn run(&self) -> usize {
        let opened = device(self.schedule);
        let device = handle(&opened);
        let files: Vec<Vec<u8>> = (0..3).map(|seed| picture(seed, (16, 16), Kind::Baseline)).collect();
        let caller = Caller::new(device, self.num_batches + files.len());
        let session = self.session(&opened, &caller.stream);
        // One at a time: what each file's logits are.
        let num_files = files.len();
        for (place, file) in files.iter().enumerate() {
            caller.before(place);
            caller.stream.synchronize().unwrap();
            session.submit(caller.batch(file)).wait().unwrap();
            caller.after(place);
            caller.stream.synchronize().unwrap();
        }
        // Now nobody waits for anything.
        for batch_idx in 0..self.num_batches {
            caller.before(num_files + batch_idx);
            drop(session.submit(caller.batch(&files[batch_idx % num_files])));
            caller.after(num_files + batch_idx);
        }
        let sums = caller.sums();
        let (alone, raced) = sums.split_at(num_files);
        let logits: Vec<u64> = alone.iter().map(|&(_, after)| after).collect();
        assert!(logits.iter().all(|&sum| sum != alone[0].0) && logits[0] != logits[1], "the sums tell nothing apart");
        let is_wrong =
            |&(idx, &(before, after)): &(usize, &(u64, u64))| (before, after) != (alone[0].0, logits[idx % num_files]);
        raced.iter().enumerate().filter(is_wrong).count()
    }
}

/// Uses one batch's worth of logits, before and after each batch.
struct Caller {
    stream: Stream,
    logits: Arc<DeviceBuffer>,
    /// By batch: a digest of the logits before, and one after.
    sums: DeviceBuffer,
}

impl Caller {
    fn new(device: &Arc<dyn dctflow::device::Device>, num_batches: usize) -> Self {
        let stream = Stream::new(device).unwrap();
        let logits = Arc::new(DeviceBuffer::new(device, CLASSES * size_of::<f32>()).unwrap());
        let sums = DeviceBuffer::new(device, num_batches * 2 * size_of::<u64>()).unwrap();
        stream.fill(sums.all(), 0).unwrap();
        Self { stream, logits, sums }
    }

    fn before(&self, place: usize) {
        self.stream.fill(self.logits.all(), 0xEE).unwrap();
        self.digest(2 * place);
    }

    fn after(&self, place: usize) {
        self.digest(2 * place + 1);
        self.stream.fill(self.logits.all(), 0xDD).unwrap();
    }

    fn batch(&self, file: &Vec<u8>) -> Batch {
        let mut batch = batch(std::slice::from_ref(file));
        batch.write_logits_to(Arc::clone(&self.logits));
        batch
    }

    fn digest(&self, place: usize) {
        let checksum = self.sums.ptr(place * size_of::<u64>());
        let params =
            ChecksumWordsParams { words: self.logits.ptr(0), checksum, num_words: CLASSES as u32, reserved: 0 };
        // SAFETY: both buffers live until the stream is done, and are as long as the parameters say.
        unsafe { self.stream.launch::<ChecksumWords>(Grid::x(1), 0, &params).unwrap() }
    }

    fn sums(&self) -> Vec<(u64, u64)> {
        let mut sums = vec![0u64; self.sums.len_bytes() / size_of::<u64>()];
        self.stream.download_now(bytemuck::cast_slice_mut(&mut sums), self.sums.all()).unwrap();
        sums.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

#[test]
fn a_joined_stream_never_races_with_batches() {
    for (schedule, slots) in
        [(Schedule::Forward, 1), (Schedule::Forward, 2), (Schedule::Reverse, 2), (Schedule::Random(2), 3)]
    {
        let race = Race { slots, ..Race::new(schedule, 500) };
        assert_eq!(race.run(), 0, "{schedule:?}, {slots} slots");
    }
    let with_network = Race { has_network: true, ..Race::new(Schedule::Random(1), 30) };
    assert_eq!(with_network.run(), 0);
}

#[test]
fn a_forgotten_wait_would_be_noticed() {
    for (schedule, wait) in
        [(Schedule::Forward, ForgottenWait::AfterBatch), (Schedule::Reverse, ForgottenWait::BeforeBatch)]
    {
        if is_gpu() {
            crate::say::skipped("a GPU may win a race that an emulator always loses");
            return;
        }
        let race = Race { forgotten: Some(wait), ..Race::new(schedule, 12) };
        assert!(race.run() > 0, "{schedule:?}, {wait:?}");
    }
}
