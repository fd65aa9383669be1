//! Which bits of which coefficients the scans of a frame have sent so far.

use super::frame::{Frame, Process};
use super::scan::Scan;

/// The state of a frame between scans (T.81 G.1.1.1; libjpeg's `coef_bits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progression {
    is_progressive: bool,
    /// Per component and ZZ(k): the point transform Al of the last scan that sent it; -1: none did.
    al: Vec<[i8; 64]>,
}

impl Progression {
    /// Nothing sent yet.
    pub fn new(frame: &Frame) -> Self {
        let is_progressive = frame.process == Process::Progressive;
        Self { is_progressive, al: vec![[-1; 64]; frame.components.len()] }
    }

    /// Takes note of a scan. False if it does not follow on the earlier ones: a refinement of what was not sent so far, bits sent
    /// twice, AC before DC.
    pub fn note(&mut self, scan: &Scan) -> bool {
        let mut in_order = true;
        for component in &scan.components {
            let sent = &mut self.al[component.component_idx];
            if !self.is_progressive {
                *sent = [0; 64];
                continue;
            }
            in_order &= scan.ss == 0 || sent[0] >= 0;
            for al in &mut sent[usize::from(scan.ss)..=usize::from(scan.se)] {
                in_order &= scan.ah as i8 == (*al).max(0);
                *al = scan.al as i8;
            }
        }
        in_order
    }

    /// Whether every bit of every coefficient was sent.
    pub fn is_complete(&self) -> bool {
        self.al.iter().flatten().all(|&al| al == 0)
    }
}
