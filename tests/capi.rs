//! The C interface, called as C calls it. `ci/capi.sh` compiles and runs a program in C.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use dctflow::capi::*;
use dctflow::network::{Config, Precision, Variant, Weights};
use dctflow::synth::photo;

fn options(weights_path: &CStr) -> DctflowOptions {
    DctflowOptions {
        weights_path: weights_path.as_ptr(),
        device: c"cpu,cpu".as_ptr(),
        transform: c"short=72,crop=64".as_ptr(),
        policy: null(),
        max_batch: 2,
        slots: 0,
        topk: 3,
        threads: 1,
        stream: null_mut(),
        ops: null(),
        no_graphs: 0,
    }
}

fn session(options: &DctflowOptions) -> Result<*mut DctflowSession, (DctflowCode, String)> {
    let mut session = null_mut();
    // SAFETY: the strings of the options are alive; the place is ours.
    match unsafe { dctflow_session_new(options, &mut session) } {
        DctflowCode::Ok => Ok(session),
        code => Err((code, message())),
    }
}

fn message() -> String {
    // SAFETY: valid until the next failure in this thread.
    unsafe { CStr::from_ptr(dctflow_message()) }.to_str().unwrap().to_owned()
}

fn weights_file(folder: &tempfile::TempDir) -> CString {
    let transform = "short=72,crop=64".parse().unwrap();
    let config = Config { width: 0.05, classes: 7, input_size: (64, 64), ..Config::new(Variant::LateConcatRfaThinner) };
    let path = folder.path().join("weights.safetensors");
    Weights::random(config, 1).unwrap().with_transform(transform).unwrap().save(&path, Precision::F32).unwrap();
    CString::new(path.to_str().unwrap()).unwrap()
}

#[test]
fn files_go_in_and_outcomes_come_out() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&options(&weights_file(&folder))).unwrap();
    let (mut ticket, mut outcomes) = (null_mut(), null_mut());
    let file = photo(5, 0);
    // SAFETY: handles are used once each, and pointers are alive.
    unsafe {
        let batch = dctflow_batch_new();
        for (tag, file) in [&file[..], b"text", &file[..]].into_iter().enumerate() {
            assert_eq!(dctflow_batch_push(batch, file.as_ptr(), file.len(), tag as u64), DctflowCode::Ok);
        }
        assert_eq!(dctflow_batch_push(batch, null(), 0, 3), DctflowCode::Ok);
        assert_eq!(dctflow_submit(session, batch, &mut ticket), DctflowCode::Ok);
        dctflow_wait_until_on_its_way(ticket);
        assert_eq!((dctflow_is_on_its_way(ticket), dctflow_is_on_its_way(null())), (1, 0));
        assert_eq!(dctflow_session_trim(session), DctflowCode::Ok);
        // The batch is empty now and can be used again.
        let mut second = null_mut();
        while dctflow_try_submit(session, batch, &mut second) == DctflowCode::Busy {}
        dctflow_ticket_free(second);
        dctflow_batch_free(batch);
        while dctflow_try_wait(&mut ticket, &mut outcomes) == DctflowCode::Busy {}
        dctflow_session_free(session);
        assert!(ticket.is_null());
        assert_eq!(dctflow_outcomes_len(outcomes), 4);
        for (image_idx, status) in [0, 2, 0, 2].into_iter().enumerate() {
            let mut outcome = MaybeUninit::uninit();
            assert_eq!(dctflow_outcome(outcomes, image_idx, outcome.as_mut_ptr()), DctflowCode::Ok);
            let outcome = outcome.assume_init();
            assert_eq!((outcome.tag, outcome.status), (image_idx as u64, status));
            if status == 2 {
                assert_eq!(CStr::from_ptr(outcome.reason), c"not-a-jpeg");
                assert!(outcome.logits.is_null() && outcome.num_top == 0);
            } else {
                assert!(outcome.reason.is_null() && outcome.message.is_null());
                let logits = std::slice::from_raw_parts(outcome.logits, outcome.num_logits);
                let best = *std::slice::from_raw_parts(outcome.top_classes, outcome.num_top).first().unwrap();
                assert_eq!((outcome.num_logits, outcome.num_top), (7, 3));
                assert!(logits.iter().all(|&logit| logit <= logits[best as usize]));
            }
        }
        assert_eq!(dctflow_outcome(outcomes, 4, MaybeUninit::uninit().as_mut_ptr()), DctflowCode::Usage);
        dctflow_outcomes_free(outcomes);
    }
}

/// A session on the emulator: sound, cut and foreign files in one batch; what belongs to GPUs alone is refused.
#[test]
fn a_device_answers_as_the_cpu_does() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights_file(&folder);
    let on_emulator = DctflowOptions { device: c"emulator".as_ptr(), slots: 1, ..options(&weights) };
    let file = photo(5, 0);
    let files = [&file[..], &file[..file.len() * 9 / 10], b"text", b""];
    let answers = [session(&options(&weights)), session(&on_emulator)].map(|session| {
        let session = session.unwrap();
        // SAFETY: handles are used once each, and pointers are alive.
        let answers = unsafe { classify(session, &files) };
        // SAFETY: the handle is not used any more.
        unsafe { dctflow_session_free(session) };
        answers
    });
    let [on_cpu, on_device] = answers;
    assert_eq!(on_cpu.iter().map(|(status, ..)| *status).collect::<Vec<_>>(), [0, 1, 2, 2]);
    for (cpu, device) in on_cpu.iter().zip(&on_device) {
        assert_eq!((cpu.0, &cpu.1, cpu.2.len()), (device.0, &device.1, device.2.len()));
        let largest = cpu.2.iter().fold(0f32, |max, logit| max.max(logit.abs()));
        assert!(cpu.2.iter().zip(&device.2).all(|(a, b)| (a - b).abs() <= 2e-2 * largest), "{cpu:?} {device:?}");
    }
}

/// Status, reason and logits of each file.
///
/// # Safety
/// `session` is a handle.
unsafe fn classify(session: *const DctflowSession, files: &[&[u8]]) -> Vec<(u32, String, Vec<f32>)> {
    let (mut ticket, mut outcomes) = (null_mut(), null_mut());
    // SAFETY: the caller's handle; the others are used once each, and pointers are alive.
    unsafe {
        let batch = dctflow_batch_new();
        for file in files {
            assert_eq!(dctflow_batch_push(batch, file.as_ptr(), file.len(), 0), DctflowCode::Ok);
        }
        assert_eq!(dctflow_submit(session, batch, &mut ticket), DctflowCode::Ok);
        dctflow_batch_free(batch);
        assert_eq!(dctflow_wait(&mut ticket, &mut outcomes), DctflowCode::Ok);
        let outcome = |image_idx| {
            let mut outcome = MaybeUninit::uninit();
            assert_eq!(dctflow_outcome(outcomes, image_idx, outcome.as_mut_ptr()), DctflowCode::Ok);
            let outcome = outcome.assume_init();
            let reason = if outcome.reason.is_null() { c"" } else { CStr::from_ptr(outcome.reason) };
            let logits = match outcome.logits.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(outcome.logits, outcome.num_logits).to_vec(),
            };
            (outcome.status, reason.to_str().unwrap().to_owned(), logits)
        };
        let answers = (0..dctflow_outcomes_len(outcomes)).map(outcome).collect();
        dctflow_outcomes_free(outcomes);
        answers
    }
}

#[test]
fn what_a_gpu_alone_has_is_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights_file(&folder);
    for (device, says) in
        [(c"cpu", "the CPU is none"), (c"emulator", "no stream of this emulator"), (c"cpu,cpu", "cpu")]
    {
        let joined = DctflowOptions { device: device.as_ptr(), stream: 0xBAD as *mut _, ..options(&weights) };
        let (code, text) = session(&joined).unwrap_err();
        assert_eq!(code, DctflowCode::Usage);
        assert!(text.contains(says), "{text}");
    }
    for (ops, device, says) in [
        (c"libraries", c"cpu", "the CPU"),
        (c"libraries", c"emulator", "no libraries"),
        (c"tensors", c"cpu", "kernels or libraries"),
    ] {
        let by_ops = DctflowOptions { device: device.as_ptr(), ops: ops.as_ptr(), ..options(&weights) };
        let (code, text) = session(&by_ops).unwrap_err();
        assert_eq!(code, DctflowCode::Usage);
        assert!(text.contains(says), "{text}");
    }
    let session = session(&options(&weights)).unwrap();
    // SAFETY: handles are used once each.
    unsafe {
        let batch = dctflow_batch_new();
        assert_eq!(dctflow_batch_write_logits_to(session, batch, 0x1000, 28), DctflowCode::Usage);
        assert!(message().contains("the CPU"));
        assert_eq!(dctflow_batch_write_logits_to(null(), batch, 0x1000, 28), DctflowCode::Usage);
        dctflow_batch_free(batch);
        dctflow_session_free(session);
    }
}

#[test]
fn mistakes_have_a_code_and_a_message() {
    let (code, text) = session(&options(c"/nonexistent/weights")).unwrap_err();
    assert_eq!(code, DctflowCode::Io);
    assert!(text.contains("/nonexistent/weights"), "{text}");
    let no_weights = DctflowOptions { weights_path: null(), ..options(c"") };
    assert_eq!(session(&no_weights).unwrap_err().0, DctflowCode::Usage);
    // SAFETY: NULL is what these functions are asked about.
    unsafe {
        assert_eq!(dctflow_session_new(&no_weights, null_mut()), DctflowCode::Usage);
        assert_eq!(dctflow_batch_push(null_mut(), null(), 0, 0), DctflowCode::Usage);
        let batch = dctflow_batch_new();
        assert_eq!(dctflow_batch_push(batch, null(), 1, 0), DctflowCode::Usage);
        let mut ticket = null_mut();
        assert_eq!(dctflow_submit(null(), batch, &mut ticket), DctflowCode::Usage);
        assert_eq!(dctflow_wait(&mut ticket, &mut null_mut()), DctflowCode::Usage);
        assert!(message().contains("ticket"));
        assert_eq!(dctflow_outcomes_len(null()), 0);
        dctflow_batch_free(batch);
        dctflow_batch_free(null_mut());
        dctflow_ticket_free(null_mut());
        dctflow_outcomes_free(null_mut());
        dctflow_session_free(null_mut());
        assert!(CStr::from_ptr(dctflow_version()).to_str().unwrap().starts_with(char::is_numeric));
    }
}
