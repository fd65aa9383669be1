//! What must hold for any sequence of calls that keeps the C interface's rules, and for the NULLs that it promises to refuse.

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use dctflow::capi::*;
use dctflow::network::{Config, Precision, Variant, Weights};

/// Bytes at the end of the input that are calls; what comes before is the file that is pushed.
const MAX_CALLS: usize = 24;

/// Calls, one for each of the last bytes, with the rest as a file. Every answer is one that the header allows, every error has a message, and
/// every batch that was submitted has one outcome for each file, in order.
pub fn capi(bytes: &[u8]) {
    let (file, calls) = bytes.split_at(bytes.len().saturating_sub(MAX_CALLS));
    let mut program = Program::new(file, calls);
    calls.iter().for_each(|&call| program.call(call));
}

/// Weights of a small network, in a file that stays.
static WEIGHTS_PATH: LazyLock<CString> = LazyLock::new(|| {
    let config = Config { width: 0.01, classes: 3, input_size: (32, 32), ..Config::new(Variant::LateConcatRfaThinner) };
    let weights = Weights::random(config, 1).expect("a network");
    let weights = weights.with_transform("short=36,crop=32".parse().expect("a transform")).expect("its size");
    let path = super::scratch_folder().join(format!("check-{}.safetensors", std::process::id()));
    weights.save(&path, Precision::F32).expect("a place for temporary files");
    CString::new(path.to_str().expect("UTF-8")).expect("no zero byte")
});

/// The handles of a C program; NULL where it has none.
struct Program<'a> {
    file: &'a [u8],
    session: *mut DctflowSession,
    batch: *mut DctflowBatch,
    ticket: *mut DctflowTicket,
    outcomes: *mut DctflowOutcomes,
    num_pushed: u64,
    num_submitted: u64,
}

impl<'a> Program<'a> {
    fn new(file: &'a [u8], calls: &[u8]) -> Self {
        let mut program = Self {
            file,
            session: null_mut(),
            batch: dctflow_batch_new(),
            ticket: null_mut(),
            outcomes: null_mut(),
            num_pushed: 0,
            num_submitted: 0,
        };
        program.start(calls.first().copied().unwrap_or(0));
        program
    }

    /// Settings by the bits of a byte; three of four sessions start.
    fn start(&mut self, settings: u8) {
        let text: Vec<u8> = self.file.iter().copied().filter(|&byte| byte != 0).take(20).collect();
        let text = CString::new(text).expect("no zero byte");
        let is_odd = settings & 0xC0 == 0xC0;
        let odd_if = |bit: u8| if is_odd && settings & bit != 0 { text.as_ptr() } else { null() };
        let options = DctflowOptions {
            weights_path: if settings == 0xC0 { null() } else { WEIGHTS_PATH.as_ptr() },
            device: c"cpu".as_ptr(),
            transform: odd_if(1),
            policy: odd_if(2),
            max_batch: u32::from(settings & 3),
            slots: u32::from(settings >> 2 & 1),
            topk: u32::from(settings >> 3 & 7),
            threads: 1,
            stream: null_mut(),
            ops: odd_if(4),
            no_graphs: u32::from(settings >> 5 & 1),
        };
        // SAFETY: the strings live until the end of the function.
        let code = unsafe { dctflow_session_new(&raw const options, &raw mut self.session) };
        self.expect(code, &[DctflowCode::Ok, DctflowCode::Usage, DctflowCode::Weights]);
        assert_eq!(code == DctflowCode::Ok, !self.session.is_null());
        assert!(is_odd || !self.session.is_null(), "{code:?}");
    }

    #[track_caller]
    fn expect(&self, code: DctflowCode, allowed: &[DctflowCode]) {
        assert!(allowed.contains(&code), "{code:?}");
        if !matches!(code, DctflowCode::Ok | DctflowCode::Busy) {
            // SAFETY: valid until this thread's next call that fails.
            let message = unsafe { CStr::from_ptr(dctflow_message()) };
            assert!(!message.to_str().expect("UTF-8").is_empty(), "{code:?}");
        }
    }

    /// One call. `Usage` is the answer to every NULL.
    fn call(&mut self, call: u8) {
        use DctflowCode::{Busy, Ok, Usage};
        let Self { session, batch, .. } = *self;
        // SAFETY: handles are live or NULL, and places are variables of this program.
        unsafe {
            match call % 8 {
                0 | 1 => {
                    let len_bytes = self.file.len() * usize::from(call >> 3) / 31;
                    let code = dctflow_batch_push(batch, self.file.as_ptr(), len_bytes, self.num_pushed);
                    self.expect(code, if batch.is_null() { &[Usage] } else { &[Ok] });
                    self.num_pushed += u64::from(code == Ok);
                }
                2 => self.expect(dctflow_batch_push(batch, null(), usize::from(call >> 3) + 1, 0), &[Usage]),
                3 | 4 => {
                    // The place is overwritten whatever the answer: what was there is freed first.
                    dctflow_ticket_free(self.ticket);
                    let submit = if call % 8 == 3 { dctflow_submit } else { dctflow_try_submit };
                    let code = submit(session, batch, &raw mut self.ticket);
                    self.expect(code, if session.is_null() || batch.is_null() { &[Usage] } else { &[Ok, Busy] });
                    assert_eq!(code == Ok, !self.ticket.is_null());
                    if code == Ok {
                        self.num_submitted = std::mem::take(&mut self.num_pushed);
                    }
                }
                5 | 6 => {
                    dctflow_outcomes_free(self.outcomes);
                    let had_ticket = !self.ticket.is_null();
                    let wait = if call % 8 == 5 { dctflow_wait } else { dctflow_try_wait };
                    let code = wait(&raw mut self.ticket, &raw mut self.outcomes);
                    self.expect(code, if had_ticket { &[Ok, Busy] } else { &[Usage] });
                    assert_eq!(code == Busy, !self.ticket.is_null());
                    assert_eq!(code == Ok, !self.outcomes.is_null());
                    self.check_outcomes();
                }
                _ => {
                    dctflow_batch_free(batch);
                    self.batch = if call & 8 == 0 { null_mut() } else { dctflow_batch_new() };
                    self.num_pushed = 0;
                }
            }
        }
    }

    fn check_outcomes(&self) {
        // SAFETY: a handle or NULL.
        let num_outcomes = unsafe { dctflow_outcomes_len(self.outcomes) };
        assert!(self.outcomes.is_null() || num_outcomes as u64 == self.num_submitted);
        for outcome_idx in 0..=num_outcomes {
            let mut place = std::mem::MaybeUninit::<DctflowOutcome>::uninit();
            // SAFETY: a handle or NULL, and a place for the struct.
            let code = unsafe { dctflow_outcome(self.outcomes, outcome_idx, place.as_mut_ptr()) };
            if outcome_idx == num_outcomes {
                return self.expect(code, &[DctflowCode::Usage]);
            }
            self.expect(code, &[DctflowCode::Ok]);
            // SAFETY: written, since the code is Ok; its pointers live as long as the outcomes.
            unsafe { check_outcome(&place.assume_init(), outcome_idx) };
        }
    }
}

/// # Safety
/// The outcome's pointers are valid.
unsafe fn check_outcome(outcome: &DctflowOutcome, outcome_idx: usize) {
    assert_eq!(outcome.tag, outcome_idx as u64);
    assert_eq!(outcome.reason.is_null(), outcome.status == 0, "status {}", outcome.status);
    assert_eq!(outcome.message.is_null(), outcome.reason.is_null());
    if !outcome.reason.is_null() {
        // SAFETY: the caller's.
        let texts = [outcome.reason, outcome.message].map(|text| unsafe { CStr::from_ptr(text) });
        assert!(texts.iter().all(|text| text.to_str().is_ok_and(|text| !text.is_empty())));
    }
    assert!(outcome.untrusted_mcus <= outcome.mcus);
    assert!(outcome.num_logits == 0 || outcome.num_logits == 3);
    assert!(outcome.num_top <= outcome.num_logits);
    if outcome.num_logits > 0 {
        // SAFETY: the caller's.
        let logits = unsafe { std::slice::from_raw_parts(outcome.logits, outcome.num_logits) };
        assert!(logits.iter().all(|logit| logit.is_finite()));
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: each is live or NULL, and nobody uses it any more.
        unsafe {
            // The ticket outlives its session.
            dctflow_session_free(self.session);
            dctflow_outcomes_free(self.outcomes);
            dctflow_ticket_free(self.ticket);
            dctflow_batch_free(self.batch);
        }
    }
}
