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
