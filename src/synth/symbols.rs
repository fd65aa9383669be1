//! Blocks as symbols of Huffman coding (T.81 F.1.2 and G.1.2), before codes are chosen.

use super::huffman::{BitWriter, CodesBySymbol, Counts, codes_by_symbol};
use super::scan::{Scan, divide_towards_zero, zigzag_block};
use crate::jpeg::{Coefficients, HuffmanTable, Process};

/// The table a symbol is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// DC table of this destination.
    Dc(u8),
    /// AC table of this destination.
    Ac(u8),
    /// None: only the extra bits are written (refinement and correction bits).
    NoTable,
}

/// A symbol and the bits that follow its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Which table.
    pub table: Table,
    /// The coded byte: SSSS for DC, RRRRSSSS for AC.
    pub value: u8,
    /// The low `num_extra_bits` of this follow the code.
    pub extra: u16,
    /// At most 16.
    pub num_extra_bits: u8,
}

/// End of block.
pub const EOB: u8 = 0x00;
/// Sixteen zero coefficients.
pub const ZRL: u8 = 0xF0;

/// The symbols of a scan, one list per entropy-coded segment.
pub(super) fn scan_symbols(image: &Coefficients, scan: &Scan) -> Vec<Vec<Symbol>> {
    let interval_mcus = usize::from(scan.restart_interval_mcus(&image.frame));
    let mut coder = SymbolCoder::new(scan);
    let mut segments = Vec::new();
    scan.for_each_mcu(&image.frame, |mcu_idx, blocks| {
        if interval_mcus != 0 && mcu_idx != 0 && mcu_idx % interval_mcus == 0 {
            segments.push(coder.finish_segment());
        }
        for &block in blocks {
            let component_idx = scan.components[block.member];
            coder.dest = table_destination(image, component_idx);
            coder.code_block(block.member, &zigzag_block(image, component_idx, block));
        }
    });
    segments.push(coder.finish_segment());
    segments
}

/// The table destination of a component: baseline has two, the other processes four (T.81 Table B.5).
pub(super) fn table_destination(image: &Coefficients, component_idx: usize) -> u8 {
    let max_dest = if image.frame.process == Process::Baseline { 1 } else { 3 };
    component_idx.min(max_dest) as u8
}

struct SymbolCoder<'a> {
    scan: &'a Scan,
    symbols: Vec<Symbol>,
    /// PRED per component of the scan.
    predictions: [i32; 4],
    dest: u8,
    /// Blocks that ended early, not yet written (T.81 G.1.2.2).
    eob_run: u16,
    /// Correction bits of those blocks (T.81 G.1.2.3).
    eob_corrections: Vec<bool>,
}

impl<'a> SymbolCoder<'a> {
    fn new(scan: &'a Scan) -> Self {
        Self { scan, symbols: Vec::new(), predictions: [0; 4], dest: 0, eob_run: 0, eob_corrections: Vec::new() }
    }

    fn finish_segment(&mut self) -> Vec<Symbol> {
        self.flush_eob_run();
        self.predictions = [0; 4];
        std::mem::take(&mut self.symbols)
    }

    fn code_block(&mut self, member: usize, zz: &[i32; 64]) {
        match (self.scan.ss, self.scan.ah) {
            (0, 0) => self.dc_first(member, zz[0]),
            (0, _) => self.bit((zz[0] >> self.scan.al) & 1 == 1),
            (_, 0) => self.ac_band(zz, self.scan.ss, true),
            (_, _) => self.ac_refine(zz),
        }
        if self.scan.ss == 0 && self.scan.se > 0 {
            self.ac_band(zz, 1, false);
        }
    }

    /// DIFF of the coefficient after its point transform, an arithmetic shift (T.81 F.1.2.1, G.1.2.1).
    fn dc_first(&mut self, member: usize, dc: i32) {
        let dc = dc >> self.scan.al;
        let diff = dc - self.predictions[member];
        self.predictions[member] = dc;
        let size_bits = size_bits(diff);
        self.push(Table::Dc(self.dest), size_bits, magnitude_bits(diff), size_bits);
    }

    /// Runs and values (T.81 F.1.2.2); with `runs_of_eob` also G.1.2.2.
    fn ac_band(&mut self, zz: &[i32; 64], ss: u8, runs_of_eob: bool) {
        let mut run = 0;
        for &coefficient in &zz[usize::from(ss)..=usize::from(self.scan.se)] {
            let value = divide_towards_zero(coefficient, self.scan.al);
            if value == 0 {
                run += 1;
                continue;
            }
            self.flush_eob_run();
            while run > 15 {
                self.ac(ZRL, 0, 0);
                run -= 16;
            }
            let size_bits = size_bits(value);
            self.ac(run << 4 | size_bits, magnitude_bits(value), size_bits);
            run = 0;
        }
        match (run > 0, runs_of_eob) {
            (true, true) => self.extend_eob_run(),
            (true, false) => self.ac(EOB, 0, 0),
            (false, _) => {}
        }
    }

    /// T.81 G.1.2.3.
    fn ac_refine(&mut self, zz: &[i32; 64]) {
        let band = usize::from(self.scan.ss)..=usize::from(self.scan.se);
        let magnitudes = zz.map(|c| c.unsigned_abs() >> self.scan.al);
        let last_new = band.clone().rev().find(|&k| magnitudes[k] == 1);
        let mut run = 0;
        let mut corrections = Vec::new();
        for k in band {
            if magnitudes[k] == 0 {
                run += 1;
                continue;
            }
            while run > 15 && last_new.is_some_and(|last| k <= last) {
                self.flush_eob_run();
                self.ac(ZRL, 0, 0);
                corrections.drain(..).for_each(|bit| self.bit(bit));
                run -= 16;
            }
            if magnitudes[k] > 1 {
                corrections.push(magnitudes[k] & 1 == 1);
                continue;
            }
            self.flush_eob_run();
            self.ac(run << 4 | 1, u16::from(zz[k] > 0), 1);
            corrections.drain(..).for_each(|bit| self.bit(bit));
            run = 0;
        }
        if run > 0 || !corrections.is_empty() {
            self.eob_corrections.append(&mut corrections);
            self.extend_eob_run();
        }
    }

    fn extend_eob_run(&mut self) {
        self.eob_run += 1;
        if self.eob_run >= self.scan.max_eob_run {
            self.flush_eob_run();
        }
    }

    /// EOBn, its extra bits, and the correction bits of all its blocks.
    fn flush_eob_run(&mut self) {
        if self.eob_run > 0 {
            let n = self.eob_run.ilog2() as u8;
            self.ac(n << 4, self.eob_run & ((1 << n) - 1), n);
            self.eob_run = 0;
        }
        std::mem::take(&mut self.eob_corrections).into_iter().for_each(|bit| self.bit(bit));
    }

    fn bit(&mut self, bit: bool) {
        self.push(Table::NoTable, 0, u16::from(bit), 1);
    }

    fn ac(&mut self, value: u8, extra: u16, num_extra_bits: u8) {
        self.push(Table::Ac(self.dest), value, extra, num_extra_bits);
    }

    fn push(&mut self, table: Table, value: u8, extra: u16, num_extra_bits: u8) {
        self.symbols.push(Symbol { table, value, extra, num_extra_bits });
    }
}

/// SSSS (T.81 Tables F.1, F.2).
pub(super) fn size_bits(value: i32) -> u8 {
    (32 - value.unsigned_abs().leading_zeros()) as u8
}

/// The bits that follow SSSS: the value if positive, else its one's complement of the magnitude (T.81 F.1.2.1).
fn magnitude_bits(value: i32) -> u16 {
    (if value < 0 { value - 1 } else { value }) as u16
}

/// Tables in the order in which their DHT are written, with the counts of their symbols.
pub(super) fn count_symbols(segments: &[Vec<Symbol>]) -> Vec<(Table, Counts)> {
    let mut counts = vec![[0u32; 256]; 8];
    for symbol in segments.iter().flatten() {
        match symbol.table {
            Table::Dc(dest) => counts[usize::from(dest)][usize::from(symbol.value)] += 1,
            Table::Ac(dest) => counts[4 + usize::from(dest)][usize::from(symbol.value)] += 1,
            Table::NoTable => {}
        }
    }
    let tables = (0..4).map(Table::Dc).chain((0..4).map(Table::Ac));
    tables.zip(counts).filter(|(_, counts)| counts.iter().any(|&count| count > 0)).collect()
}

/// Codes symbols with the tables in force.
pub(super) struct SegmentCoder {
    dc: [CodesBySymbol; 4],
    ac: [CodesBySymbol; 4],
}

impl SegmentCoder {
    pub(super) fn new(tables: &[(Table, HuffmanTable)]) -> Self {
        let mut coder = Self { dc: [[(0, 0); 256]; 4], ac: [[(0, 0); 256]; 4] };
        for (table, contents) in tables {
            match table {
                Table::Dc(dest) => coder.dc[usize::from(*dest)] = codes_by_symbol(contents),
                Table::Ac(dest) => coder.ac[usize::from(*dest)] = codes_by_symbol(contents),
                Table::NoTable => {}
            }
        }
        coder
    }

    /// One entropy-coded segment.
    pub(super) fn code(&self, symbols: &[Symbol]) -> Vec<u8> {
        let mut writer = BitWriter::default();
        for symbol in symbols {
            let (code, num_code_bits) = match symbol.table {
                Table::Dc(dest) => self.dc[usize::from(dest)][usize::from(symbol.value)],
                Table::Ac(dest) => self.ac[usize::from(dest)][usize::from(symbol.value)],
                Table::NoTable => (0, 0),
            };
            writer.put(u32::from(code), u32::from(num_code_bits));
            writer.put(u32::from(symbol.extra), u32::from(symbol.num_extra_bits));
        }
        writer.finish()
    }
}
