//! The frame (T.81 B.2.2): dimensions, components, sampling, and the geometry that follows from them (T.81 A.1, A.2).

/// The coding process of a frame, as its SOF marker names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// SOF0: 8 bits, Huffman, at most two tables of each class.
    Baseline,
    /// SOF1, SOF9: 8 or 12 bits, sequential.
    ExtendedSequential,
    /// SOF2, SOF10: 8 or 12 bits, spectral selection and successive approximation.
    Progressive,
}

/// The entropy coding of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntropyCoding {
    /// T.81 Annex C, F.1.2, G.1.2: SOF0, SOF1, SOF2.
    Huffman,
    /// T.81 Annex D: SOF9, SOF10.
    Arithmetic,
}

/// What the components mean: guessed as libjpeg's `default_decompress_parms` does from the number of components, the JFIF and
/// Adobe markers, and the component identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColorModel {
    /// One component.
    Gray,
    /// Three: luma and two chroma (JFIF).
    YCbCr,
    /// Three: red, green, blue (Adobe transform 0, or identifiers 'R' 'G' 'B').
    Rgb,
    /// Four: cyan, magenta, yellow, black; `inverted` as Adobe writes them (255 = no ink).
    Cmyk {
        /// An Adobe marker is present: 255 means no ink.
        inverted: bool,
    },
    /// Four: CMYK with its first three components coded as YCbCr (Adobe transform 2).
    Ycck {
        /// An Adobe marker is present: 255 means no ink.
        inverted: bool,
    },
    /// Two components, or anything else: coefficients can be read, but no network's input made.
    Unknown,
}

/// EXIF tag 0x0112: how the stored rows and columns are to be shown. The values are EXIF's, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Orientation {
    /// As stored.
    #[default]
    Upright = 1,
    /// Mirrored left to right.
    FlipHorizontal = 2,
    /// Turned by 180 degrees.
    Rotate180 = 3,
    /// Mirrored top to bottom.
    FlipVertical = 4,
    /// Mirrored at the main diagonal (rows become columns).
    Transpose = 5,
    /// To be turned by 90 degrees clockwise.
    Rotate90 = 6,
    /// Mirrored at the other diagonal.
    Transverse = 7,
    /// To be turned by 90 degrees counter-clockwise.
    Rotate270 = 8,
}

impl Orientation {
    /// From EXIF's value; `None` for anything but 1 to 8.
    pub fn from_exif(value: u16) -> Option<Self> {
        use Orientation::*;
        [Upright, FlipHorizontal, Rotate180, FlipVertical, Transpose, Rotate90, Transverse, Rotate270]
            .into_iter()
            .find(|o| *o as u16 == value)
    }

    /// Whether rows and columns change places.
    pub fn transposes(self) -> bool {
        self as u8 >= 5
    }
}

/// One component of the frame (T.81 B.2.2), with the geometry that its sampling factors give (A.1.1, A.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// C(i): the identifier by which scans name it.
    pub id: u8,
    /// H(i): horizontal sampling factor, 1 to 4.
    pub h: u8,
    /// V(i): vertical sampling factor, 1 to 4.
    pub v: u8,
    /// Tq(i): which quantisation table, 0 to 3.
    pub quant_idx: u8,
    /// ceil(width * H / Hmax).
    pub width_samples: u32,
    /// ceil(height * V / Vmax).
    pub height_samples: u32,
    /// ceil(width_samples / 8): the blocks that a non-interleaved scan sends in a row; libjpeg's `width_in_blocks`.
    pub blocks_wide: u32,
    /// ceil(height_samples / 8).
    pub blocks_high: u32,
    /// Blocks in a row of an interleaved scan: MCUs in a row x H.
    pub padded_blocks_wide: u32,
    /// Rows of blocks of an interleaved scan: rows of MCUs x V.
    pub padded_blocks_high: u32,
}

/// The frame header (T.81 B.2.2) and its geometry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The coding process.
    pub process: Process,
    /// The entropy coding.
    pub coding: EntropyCoding,
    /// P: 8 or 12 bits per sample.
    pub precision_bits: u8,
    /// X: samples in a line of the largest component.
    pub width: u32,
    /// Y: number of lines (from DNL where the frame header says 0).
    pub height: u32,
    /// One to four, in the frame header's order.
    pub components: Vec<Component>,
    /// Largest H(i).
    pub h_max: u8,
    /// Largest V(i).
    pub v_max: u8,
}

/// What the frame header says of one component (T.81 B.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentSpec {
    /// C(i).
    pub id: u8,
    /// H(i), 1 to 4.
    pub h: u8,
    /// V(i), 1 to 4.
    pub v: u8,
    /// Tq(i).
    pub quant_idx: u8,
}

impl Frame {
    /// A frame of one to four components with the geometry that follows from its header.
    pub fn new(
        (process, coding): (Process, EntropyCoding),
        precision_bits: u8,
        (width, height): (u32, u32),
        specs: &[ComponentSpec],
    ) -> Self {
        let h_max = specs.iter().map(|c| c.h).max().unwrap_or(1);
        let v_max = specs.iter().map(|c| c.v).max().unwrap_or(1);
        let component =
            |c: &ComponentSpec| Component::new(c.id, (c.h, c.v), c.quant_idx, (width, height), (h_max, v_max));
        Self {
            process,
            coding,
            precision_bits,
            width,
            height,
            components: specs.iter().map(component).collect(),
            h_max,
            v_max,
        }
    }

    /// Bytes of all coefficients, padding to whole MCUs included.
    pub fn coefficient_bytes(&self) -> u64 {
        let blocks = |c: &Component| u64::from(c.padded_blocks_wide) * u64::from(c.padded_blocks_high);
        self.components.iter().map(blocks).sum::<u64>() * 128
    }

    /// MCUs in a row of an interleaved scan: ceil(width / (8 Hmax)).
    pub fn mcus_wide(&self) -> u32 {
        self.width.div_ceil(8 * u32::from(self.h_max))
    }

    /// Rows of MCUs of an interleaved scan: ceil(height / (8 Vmax)).
    pub fn mcus_high(&self) -> u32 {
        self.height.div_ceil(8 * u32::from(self.v_max))
    }

    /// MCUs of the whole frame, interleaved.
    pub fn mcus(&self) -> u32 {
        self.mcus_wide() * self.mcus_high()
    }

    /// The usual short name of the sampling, as `4:2:0`; else the factors, as `2x2,1x2,1x2`.
    pub fn sampling_name(&self) -> String {
        let factors: Vec<(u8, u8)> = self.components.iter().map(|c| (c.h, c.v)).collect();
        match factors.as_slice() {
            [_] => "gray".into(),
            [(1, 1), (1, 1), (1, 1)] => "4:4:4".into(),
            [(2, 1), (1, 1), (1, 1)] => "4:2:2".into(),
            [(2, 2), (1, 1), (1, 1)] => "4:2:0".into(),
            [(1, 2), (1, 1), (1, 1)] => "4:4:0".into(),
            [(4, 1), (1, 1), (1, 1)] => "4:1:1".into(),
            [(4, 2), (1, 1), (1, 1)] => "4:1:0".into(),
            _ => factors.iter().map(|(h, v)| format!("{h}x{v}")).collect::<Vec<_>>().join(","),
        }
    }
}

impl Component {
    /// A component of a frame of `width` x `height` samples whose largest factors are `h_max`, `v_max`.
    pub fn new(id: u8, (h, v): (u8, u8), quant_idx: u8, (width, height): (u32, u32), (h_max, v_max): (u8, u8)) -> Self {
        let width_samples = (width * u32::from(h)).div_ceil(u32::from(h_max));
        let height_samples = (height * u32::from(v)).div_ceil(u32::from(v_max));
        Self {
            id,
            h,
            v,
            quant_idx,
            width_samples,
            height_samples,
            blocks_wide: width_samples.div_ceil(8),
            blocks_high: height_samples.div_ceil(8),
            padded_blocks_wide: width.div_ceil(8 * u32::from(h_max)) * u32::from(h),
            padded_blocks_high: height.div_ceil(8 * u32::from(v_max)) * u32::from(v),
        }
    }
}
