//! The test matrix: a covering array in which every two values of different axes meet in at least one file.

use dctflow::jpeg::{Coefficients, ColorModel, EntropyCoding, Process};
use dctflow::synth::{
    Codes, Encoding, Interleaving, JpegFile, Layout, Picture, Random, Restart, Scan, Script, progressive_scans,
    sequential_scans,
};

/// Restart markers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    None,
    EveryMcu,
    EveryRow,
    /// Every row, two neighbouring markers swapped.
    OutOfOrder,
    /// Every row, one marker missing.
    Missing,
}

/// How a file is cut into scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Baseline,
    Extended,
    Progressive(Script),
}

type Sampling = [(u8, u8); 3];

const COLORS: [(&str, ColorModel); 5] = [
    ("gray", ColorModel::Gray),
    ("ycc", ColorModel::YCbCr),
    ("rgb", ColorModel::Rgb),
    ("cmyk", ColorModel::Cmyk { inverted: true }),
    ("ycck", ColorModel::Ycck { inverted: true }),
];

/// First component and black; second; third. Gray takes the first.
const SAMPLINGS: [(&str, Sampling); 12] = [
    ("444", [(1, 1), (1, 1), (1, 1)]),
    ("422", [(2, 1), (1, 1), (1, 1)]),
    ("420", [(2, 2), (1, 1), (1, 1)]),
    ("440", [(1, 2), (1, 1), (1, 1)]),
    ("411", [(4, 1), (1, 1), (1, 1)]),
    ("410", [(4, 2), (1, 1), (1, 1)]),
    ("3x1", [(3, 1), (1, 1), (2, 1)]),
    ("2x2-1x2-1x2", [(2, 2), (1, 2), (1, 2)]),
    ("1x1-2x2-2x2", [(1, 1), (2, 2), (2, 2)]),
    ("2x2-2x1-1x2", [(2, 2), (2, 1), (1, 2)]),
    ("3x3-1x1-1x1", [(3, 3), (1, 1), (1, 1)]),
    ("4x4-1x1-3x2", [(4, 4), (1, 1), (3, 2)]),
];

const INTERLEAVINGS: [(&str, Interleaving); 3] = [
    ("interleaved", Interleaving::Interleaved),
    ("separate", Interleaving::NonInterleaved),
    ("mixed", Interleaving::Mixed),
];

const RESTARTS: [(&str, Restarts); 5] = [
    ("rst-none", Restarts::None),
    ("rst-mcu", Restarts::EveryMcu),
    ("rst-row", Restarts::EveryRow),
    ("rst-swapped", Restarts::OutOfOrder),
    ("rst-missing", Restarts::Missing),
];

const CODES: [(&str, Codes); 4] = [
    ("standard", Codes::Standard),
    ("optimised", Codes::Optimised),
    ("long", Codes::Long),
    ("fixed", Codes::FixedLength),
];

const SIZES: [(&str, (u32, u32)); 6] = [
    ("1x1", (1, 1)),
    ("7x9", (7, 9)),
    ("8x8", (8, 8)),
    ("17x9", (17, 9)),
    ("131x97", (131, 97)),
    ("640x480", (640, 480)),
];

const QUALITIES: [(&str, u8); 3] = [("q1", 1), ("q50", 50), ("q100", 100)];

const PRECISIONS: [(&str, u8); 2] = [("8bit", 8), ("12bit", 12)];

const KINDS: [(&str, Kind); 5] = [
    ("baseline", Kind::Baseline),
    ("extended", Kind::Extended),
    ("spectral", Kind::Progressive(Script::SpectralSelection)),
    ("successive", Kind::Progressive(Script::SuccessiveApproximation)),
    ("progressive", Kind::Progressive(Script::Mixed)),
];

const CODINGS: [(&str, EntropyCoding); 2] =
    [("huffman", EntropyCoding::Huffman), ("arithmetic", EntropyCoding::Arithmetic)];

const NUM_AXES: usize = 10;

/// One index per axis.
type Row = [usize; NUM_AXES];

const AXIS_LENGTHS: Row = [
    COLORS.len(),
    SAMPLINGS.len(),
    INTERLEAVINGS.len(),
    RESTARTS.len(),
    CODES.len(),
    SIZES.len(),
    QUALITIES.len(),
    PRECISIONS.len(),
    KINDS.len(),
    CODINGS.len(),
];

/// One file of the matrix.
#[derive(Clone, Debug)]
pub struct Point {
    pub color: ColorModel,
    pub sampling: Sampling,
    pub interleaving: Interleaving,
    pub restarts: Restarts,
    pub codes: Codes,
    pub size: (u32, u32),
    pub quality: u8,
    pub precision_bits: u8,
    pub kind: Kind,
    pub coding: EntropyCoding,
    /// What the file is, axis by axis.
    pub name: String,
}

impl Point {
    fn new(row: &Row) -> Self {
        let names = [
            COLORS[row[0]].0,
            SAMPLINGS[row[1]].0,
            INTERLEAVINGS[row[2]].0,
            RESTARTS[row[3]].0,
            CODES[row[4]].0,
            SIZES[row[5]].0,
            QUALITIES[row[6]].0,
            PRECISIONS[row[7]].0,
            KINDS[row[8]].0,
            CODINGS[row[9]].0,
        ];
        Self {
            color: COLORS[row[0]].1,
            sampling: SAMPLINGS[row[1]].1,
            interleaving: INTERLEAVINGS[row[2]].1,
            restarts: RESTARTS[row[3]].1,
            codes: CODES[row[4]].1,
            size: SIZES[row[5]].1,
            quality: QUALITIES[row[6]].1,
            precision_bits: PRECISIONS[row[7]].1,
            kind: KINDS[row[8]].1,
            coding: CODINGS[row[9]].1,
            name: names.join(" "),
        }
    }

    /// Whether such a file can exist and differs from its neighbours.
    fn is_possible(&self) -> bool {
        let baseline =
            self.kind != Kind::Baseline || (self.precision_bits == 8 && self.coding == EntropyCoding::Huffman);
        let codes = match self.codes {
            // The typical tables end at the categories of 8-bit samples.
            Codes::Standard => self.precision_bits == 8 && self.coding == EntropyCoding::Huffman,
            Codes::Optimised => true,
            Codes::Long | Codes::FixedLength => self.coding == EntropyCoding::Huffman,
        };
        let restarts = !self.has_damaged_restarts() || self.size.0 > 100;
        baseline && codes && restarts
    }

    /// Whether restart markers are missing or out of order: no decoder reads such a file without a warning.
    pub fn has_damaged_restarts(&self) -> bool {
        matches!(self.restarts, Restarts::OutOfOrder | Restarts::Missing)
    }

    /// The coefficients, and the file that carries them.
    pub fn build(&self) -> (Coefficients, JpegFile) {
        let layout = self.layout();
        let seed = self.name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let (width, height) = self.size;
        let image = Picture::photo(seed, width, height, layout.sampling.len()).coefficients(&layout);
        let mut file = Encoding::new(self.scans(&image)).encode(&image);
        self.damage_restarts(&mut file);
        (image, file)
    }

    fn layout(&self) -> Layout {
        let [first, second, third] = self.sampling;
        let sampling = match self.color {
            ColorModel::Gray => vec![first],
            ColorModel::YCbCr | ColorModel::Rgb => vec![first, second, third],
            _ => vec![first, second, third, first],
        };
        let process = match self.kind {
            Kind::Baseline => Process::Baseline,
            Kind::Extended => Process::ExtendedSequential,
            Kind::Progressive(_) => Process::Progressive,
        };
        Layout {
            process,
            coding: self.coding,
            precision_bits: self.precision_bits,
            sampling,
            color: self.color,
            quality: self.quality,
        }
    }

    fn scans(&self, image: &Coefficients) -> Vec<Scan> {
        let mut scans = match self.kind {
            Kind::Baseline | Kind::Extended => sequential_scans(&image.frame, self.interleaving),
            Kind::Progressive(script) => progressive_scans(&image.frame, self.interleaving, script),
        };
        for scan in &mut scans {
            scan.codes = self.codes;
            // The typical tables have no codes for runs of EOB.
            scan.max_eob_run = if self.codes == Codes::Standard { 1 } else { 0x7FFF };
            scan.restart = match self.restarts {
                Restarts::None => Restart::Never,
                Restarts::EveryMcu => Restart::EveryMcus(1),
                Restarts::EveryRow | Restarts::OutOfOrder | Restarts::Missing => Restart::EveryRow,
            };
        }
        scans
    }

    fn damage_restarts(&self, file: &mut JpegFile) {
        let restarts = file.restarts();
        let Some(&middle) = restarts.get(restarts.len() / 2) else { return };
        match self.restarts {
            Restarts::Missing => drop(file.parts.remove(middle)),
            Restarts::OutOfOrder if restarts.len() > 1 => file.parts.swap(restarts[restarts.len() / 2 - 1], middle),
            _ => {}
        }
    }
}

/// Files beyond what covering all pairs needs: random points, for combinations of three and more.
const NUM_MORE_POINTS: usize = 80;

/// The most files that the matrix may have.
const MAX_POINTS: usize = 400;

/// All files of the matrix, the same in every run.
pub fn points() -> Vec<Point> {
    let mut random = Random::new(42);
    let mut rows: Vec<Row> = Vec::new();
    let mut missing = possible_pairs(&mut random);
    while let Some(&pair) = missing.first() {
        let best =
            (0..40).filter_map(|_| random_row(&mut random, Some(pair))).max_by_key(|row| num_covered(&missing, row));
        let Some(row) = best else { panic!("no row for a pair that was found possible: {pair:?}") };
        missing.retain(|pair| !pair.is_in(&row));
        rows.push(row);
    }
    rows.extend(std::iter::repeat_with(|| random_row(&mut random, None)).flatten().take(NUM_MORE_POINTS));
    assert!(rows.len() <= MAX_POINTS, "{} files", rows.len());
    rows.iter().map(Point::new).collect()
}

/// A value on each of two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    axes: (usize, usize),
    values: (usize, usize),
}

impl Pair {
    fn is_in(&self, row: &Row) -> bool {
        (row[self.axes.0], row[self.axes.1]) == self.values
    }
}

fn num_covered(pairs: &[Pair], row: &Row) -> usize {
    pairs.iter().filter(|pair| pair.is_in(row)).count()
}

/// The pairs for which a possible file was found in many tries.
fn possible_pairs(random: &mut Random) -> Vec<Pair> {
    let axis_pairs = (0..NUM_AXES).flat_map(|first| (first + 1..NUM_AXES).map(move |second| (first, second)));
    let pairs = axis_pairs.flat_map(|axes| {
        let values = (0..AXIS_LENGTHS[axes.0]).flat_map(move |i| (0..AXIS_LENGTHS[axes.1]).map(move |j| (i, j)));
        values.map(move |values| Pair { axes, values })
    });
    pairs.filter(|pair| random_row(random, Some(*pair)).is_some()).collect()
}

/// A random possible row that contains `pair`; `None` if many tries found none.
fn random_row(random: &mut Random, pair: Option<Pair>) -> Option<Row> {
    let tries = std::iter::repeat_with(|| {
        let mut row: Row = AXIS_LENGTHS.map(|length| random.below(length as u32) as usize);
        if let Some(pair) = pair {
            (row[pair.axes.0], row[pair.axes.1]) = pair.values;
        }
        row
    });
    tries.take(300).find(|row| Point::new(row).is_possible())
}
