//! Files that ask for much: few bytes, much memory or work. Each is legal, or nearly so.

use dctflow::jpeg::ComponentSpec;
use dctflow::jpeg::marker::code;
use dctflow::jpeg::{Coefficients, ColorModel, EntropyCoding, Frame, Limits, Natural, Orientation, Plane, Process};
use dctflow::synth::{Codes, Encoding, Interleaving, JpegFile, Layout, Part, Picture, Scan, sequential_scans};

/// Huffman codes of one bit more each: 0, 10, 110, ... for these symbols.
fn unary_codes(symbols: &[u8]) -> Vec<u8> {
    let mut counts = [0u8; 16];
    counts[..symbols.len()].fill(1);
    [&counts[..], symbols].concat()
}

/// A file without its scans: gray, `blocks_wide` x `blocks_high` blocks. DC table 0 has the category 0 as `0`; AC table 0 these symbols.
fn gray_head(frame_marker: u8, (blocks_wide, blocks_high): (u32, u32), ac_symbols: &[u8]) -> JpegFile {
    let side = |blocks: u32| u16::try_from(blocks * 8).expect("a side of at most 8,191 blocks").to_be_bytes();
    let ([y1, y0], [x1, x0]) = (side(blocks_high), side(blocks_wide));
    let mut file = JpegFile::default();
    file.push_marker(code::SOI);
    file.push_segment(code::DQT, [&[0][..], &[1; 64]].concat());
    file.push_segment(code::DHT, [&[0][..], &unary_codes(&[0])].concat());
    file.push_segment(code::DHT, [&[0x10][..], &unary_codes(ac_symbols)].concat());
    file.push_segment(frame_marker, [8, y1, y0, x1, x0, 1, 1, 0x11, 0]);
    file
}

fn push_scan(file: &mut JpegFile, (ss, se): (u8, u8), (ah, al): (u8, u8), data: Vec<u8>) {
    file.push_segment(code::SOS, [1, 1, 0, ss, se, ah << 4 | al]);
    file.parts.push(Part::Entropy(data));
}

fn finish(mut file: JpegFile) -> Vec<u8> {
    file.push_marker(code::EOI);
    file.to_bytes()
}

/// About `num_blocks` blocks as a frame that is 1,024 blocks wide.
fn size_of(num_blocks: u64) -> (u32, u32) {
    (1024, u32::try_from(num_blocks / 1024).expect("few rows").clamp(1, 8191))
}

fn num_blocks((wide, high): (u32, u32)) -> usize {
    (wide * high) as usize
}

/// EOB14 (T.81 Table G.1), coded as `0`, with 14 more bits: bands of 16,384 blocks are empty. Enough for `num_blocks`, and not one too many.
fn eob_runs(num_blocks: usize) -> Vec<u8> {
    const RUN: usize = 1 << 14;
    let mut bits = Vec::new();
    for _ in 0..num_blocks / RUN {
        bits.extend([0; 15]);
    }
    // The rest block by block: EOB0 is `10`.
    for _ in 0..num_blocks % RUN {
        bits.extend([1, 0]);
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    let bytes = bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit));
    bytes.flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect()
}

const EOB0: u8 = 0x00;
const EOB14: u8 = 0xE0;

/// Flat and sequential: two bits for each block, as short as Huffman codes can be.
pub fn flat_page(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF0, blocks, &[EOB0]);
    push_scan(&mut file, (0, 63), (0, 0), vec![0; num_blocks(blocks).div_ceil(4)]);
    finish(file)
}

/// Giant dimensions over few bytes.
pub fn giant_frame(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF0, blocks, &[EOB0]);
    push_scan(&mut file, (0, 63), (0, 0), vec![0; 8]);
    finish(file)
}

/// Flat, with a restart marker after every block.
pub fn restart_interval_one(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF0, blocks, &[EOB0]);
    file.push_segment(code::DRI, [0, 1]);
    let pieces = (0..num_blocks(blocks)).flat_map(|idx| [0x3F, 0xFF, code::RST0 + (idx % 8) as u8]);
    let mut data: Vec<u8> = pieces.collect();
    data.truncate(data.len() - 2);
    push_scan(&mut file, (0, 63), (0, 0), data);
    finish(file)
}

/// Progressive: a bit per block for DC, then `num_scans` scans whose runs of EOB pass over everything: each coefficient by itself, bit by bit,
/// as T.81 allows it.
pub fn many_scans(blocks: (u32, u32), num_scans: usize) -> Vec<u8> {
    let mut file = gray_head(code::SOF2, blocks, &[EOB14, EOB0]);
    push_scan(&mut file, (0, 0), (0, 0), vec![0; num_blocks(blocks).div_ceil(8)]);
    let runs = eob_runs(num_blocks(blocks));
    let bits = (0..14).rev().map(|al| (if al == 13 { 0 } else { al + 1 }, al));
    let scans = (1..=63).flat_map(|k| bits.clone().map(move |ah_al| (k, ah_al)));
    for (k, ah_al) in scans.cycle().take(num_scans) {
        push_scan(&mut file, (k, k), ah_al, runs.clone());
    }
    finish(file)
}

/// Progressive: as many passes over everything as a file may have, and hardly a byte for them.
pub fn passes_without_data(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF2, blocks, &[EOB14, EOB0]);
    push_scan(&mut file, (0, 0), (0, 0), Vec::new());
    let runs = eob_runs(num_blocks(blocks));
    for al in (0..Limits::PASSES as u8 - 1).rev() {
        push_scan(&mut file, (1, 63), (if al + 2 == Limits::PASSES as u8 { 0 } else { al + 1 }, al), runs.clone());
    }
    finish(file)
}

/// Progressive: one refinement scan that visits every block by itself, a bit a block.
pub fn refined_block_by_block(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF2, blocks, &[EOB0, EOB14]);
    let bit_per_block = vec![0; num_blocks(blocks).div_ceil(8)];
    push_scan(&mut file, (0, 0), (0, 0), bit_per_block.clone());
    push_scan(&mut file, (1, 63), (0, 1), bit_per_block.clone());
    push_scan(&mut file, (1, 63), (1, 0), bit_per_block);
    finish(file)
}

/// Progressive: bands of one coefficient that each end every block by itself (EOB0, a run of no further block), a bit a block.
pub fn zero_length_runs(blocks: (u32, u32), num_bands: u8) -> Vec<u8> {
    let mut file = gray_head(code::SOF2, blocks, &[EOB0]);
    let bit_per_block = vec![0; num_blocks(blocks).div_ceil(8)];
    push_scan(&mut file, (0, 0), (0, 0), bit_per_block.clone());
    for k in 1..=num_bands {
        push_scan(&mut file, (k, k), (0, 0), bit_per_block.clone());
    }
    finish(file)
}

/// Arithmetic coding: the data are missing, and read as zeros for ever (T.81 D.2.6).
pub fn arithmetic_without_data(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(0xC9, blocks, &[EOB0]);
    push_scan(&mut file, (0, 63), (0, 0), Vec::new());
    finish(file)
}

/// Arithmetic coding: 512 blocks of 63 large values are sent. The rest is missing, and the zeros that are read in its place (T.81 D.2.6) mean
/// "as before": two thousand decisions a block.
pub fn arithmetic_decisions(blocks_high: u16) -> Vec<u8> {
    let image = gray_image(Process::ExtendedSequential, (16, 32), 0x3FFF);
    let mut file = Encoding::new(vec![Scan::sequential([0])]).encode(&image);
    set_height(&mut file, code::SOF9, blocks_high.into());
    file.to_bytes()
}

/// To be coded arithmetically: every coefficient is `value`.
fn gray_image(process: Process, (blocks_wide, blocks_high): (u32, u32), value: i16) -> Coefficients {
    let spec = ComponentSpec { id: 1, h: 1, v: 1, quant_idx: 0 };
    let frame = Frame::new((process, EntropyCoding::Arithmetic), 8, (blocks_wide * 8, blocks_high * 8), &[spec]);
    let plane = Plane {
        blocks_wide,
        blocks_high,
        pitch_blocks: blocks_wide,
        padded_blocks_high: blocks_high,
        data: vec![value; num_blocks((blocks_wide, blocks_high)) * 64],
        quant: Some(Natural([1; 64])),
    };
    Coefficients { frame, color: ColorModel::Gray, orientation: Orientation::Upright, planes: vec![plane] }
}

/// The frame header says another height than that of the blocks that are sent.
fn set_height(file: &mut JpegFile, frame_marker: u8, blocks_high: u32) {
    let height = u16::try_from(blocks_high * 8).expect("a side of at most 8,191 blocks");
    let frame_header = file.payload_mut(frame_marker, 0).expect("the frame header");
    frame_header[1..3].copy_from_slice(&height.to_be_bytes());
}

/// Progressive, with arithmetic coding: 512 blocks are sent in as many scans as a file may have, all empty or with ZZ(1) alone, so that such a block
/// is what is expected. The rest is missing, and the zeros that are read in its place mean "as before": one or two decisions a block and scan, of
/// which all but the first ones refine what is there, or is not.
pub fn arithmetic_refinements((blocks_wide, blocks_high): (u32, u32), is_empty: bool) -> Vec<u8> {
    let mut image = gray_image(Process::Progressive, (blocks_wide, 512 / blocks_wide), 0);
    if !is_empty {
        // All bits are 1, so that every scan changes the coefficient.
        image.planes[0].data.chunks_mut(64).for_each(|block| block[1] = 127);
    }
    let num_refinements = Limits::PASSES as u8 - 2;
    let mut scans = vec![Scan::progressive([0], (0, 0), (0, 0)), Scan::progressive([0], (1, 63), (0, num_refinements))];
    scans.extend((0..num_refinements).rev().map(|al| Scan::progressive([0], (1, 63), (al + 1, al))));
    let mut file = Encoding::new(scans).encode(&image);
    set_height(&mut file, code::SOF10, blocks_high);
    file.to_bytes()
}

/// Arithmetic coding, with a restart marker after every block, and no data: each begins with new statistics.
pub fn arithmetic_restarts(blocks: (u32, u32)) -> Vec<u8> {
    let mut file = gray_head(code::SOF9, blocks, &[EOB0]);
    file.push_segment(code::DRI, [0, 1]);
    let data = (0..num_blocks(blocks) - 1).flat_map(|idx| [0xFF, code::RST0 + (idx % 8) as u8]);
    push_scan(&mut file, (0, 63), (0, 0), data.collect());
    finish(file)
}

/// A photo whose codes all have one length, so that nothing falls into step.
pub fn fixed_length_codes((width, height): (u32, u32)) -> Vec<u8> {
    let image = Picture::photo(3, width, height, 3).coefficients(&Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 85));
    let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved));
    encoding.scans.iter_mut().for_each(|scan| scan.codes = Codes::FixedLength);
    encoding.encode(&image).to_bytes()
}

/// As many blocks as a file of `num_bytes` may have.
pub fn most_blocks(num_bytes: usize) -> (u32, u32) {
    size_of(Limits::default().coefficient_bytes_for(num_bytes) / 128)
}

/// Of every kind one file, each of about `num_bytes` or as short as it comes, and as expensive as the limits allow.
pub fn files(num_bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let bit_per_block = size_of(num_bytes as u64 * 8);
    let passes = Limits::PASSES as usize;
    vec![
        ("flat page, two bits a block", flat_page(size_of(num_bytes as u64 * 4))),
        ("giant frame over few bytes", giant_frame(most_blocks(200))),
        ("restart interval 1", restart_interval_one(size_of(num_bytes as u64 / 3))),
        ("progressive, a bit a block and runs of EOB", many_scans(bit_per_block, passes - 1)),
        ("progressive, runs of EOB alone", passes_without_data(most_blocks(500))),
        ("progressive, thousands of scans", many_scans((1, 1), num_bytes / 11)),
        ("progressive, EOB without a run", zero_length_runs(size_of(num_bytes as u64), 7)),
        ("arithmetic, without data", arithmetic_without_data(most_blocks(200))),
        ("arithmetic, decisions that take no data", arithmetic_decisions(8191)),
        ("arithmetic, restart interval 1", arithmetic_restarts(size_of(num_bytes as u64 / 2))),
        ("progressive arithmetic, refinements of nothing", arithmetic_refinements((64, 8191), true)),
        ("progressive arithmetic, refinements of ZZ(1)", arithmetic_refinements((64, 8191), false)),
        ("codes of one length", fixed_length_codes((1024, (num_bytes / 512) as u32))),
    ]
}
