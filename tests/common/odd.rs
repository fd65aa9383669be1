//! Legal files that few encoders write, and a few that break rules which libjpeg does not enforce.

use dctflow::jpeg::marker::code;
use dctflow::jpeg::{ArithmeticConditioning, Coefficients, ColorModel, EntropyCoding, Natural, Orientation, Process};
use dctflow::synth::{
    Codes, EOB, Encoding, Interleaving, JpegFile, Layout, Part, Picture, Random, Restart, Scan, Script, Symbol, Table,
    ZRL, progressive_scans, sequential_scans,
};

use super::cases::{Case, Expected};

const GRAY: &[(u8, u8)] = &[(1, 1)];
const YCC_420: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];
const YCC_444: &[(u8, u8)] = &[(1, 1), (1, 1), (1, 1)];

/// All of them.
pub fn cases() -> Vec<Case> {
    let beyond =
        runs_beyond_bands().map(|bytes| Case::new("runs beyond progressive bands", bytes, Expected::AsLibjpeg));
    [blocks(), symbols(), beyond.into(), tables(), markers(), scans(), pages(), conditioning()]
        .into_iter()
        .flatten()
        .collect()
}

/// A picture of 83 x 61 samples: edges inside blocks and inside MCUs.
pub fn photo(sampling: &[(u8, u8)], quality: u8) -> Coefficients {
    Picture::photo(11, 83, 61, sampling.len()).coefficients(&Layout::baseline(sampling, quality))
}

/// The same as another process.
pub fn photo_as(process: Process, coding: EntropyCoding) -> Coefficients {
    let layout = Layout { process, coding, ..Layout::baseline(YCC_420, 80) };
    Picture::photo(11, 83, 61, 3).coefficients(&layout)
}

/// Interleaved as far as possible.
pub fn encoding(image: &Coefficients) -> Encoding {
    Encoding::new(match image.frame.process {
        Process::Progressive => progressive_scans(&image.frame, Interleaving::Interleaved, Script::Mixed),
        _ => sequential_scans(&image.frame, Interleaving::Interleaved),
    })
}

/// `image` encoded, then changed by `edit` in a way that does not change what it carries.
fn edited(name: &str, image: Coefficients, edit: impl FnOnce(&mut JpegFile)) -> Case {
    let mut file = encoding(&image).encode(&image);
    edit(&mut file);
    Case::sound(name, file.to_bytes(), image)
}

/// Coefficients at the limits of what blocks can hold.
fn blocks() -> Vec<Case> {
    let with_blocks = |name: &str, set: &dyn Fn(&mut Random, &mut [i16])| {
        let mut image = photo(YCC_420, 50);
        let mut random = Random::new(3);
        for plane in &mut image.planes {
            plane.data.chunks_exact_mut(64).for_each(|block| set(&mut random, block));
        }
        Case::sound(name, encoding(&image).encode(&image).to_bytes(), image)
    };
    vec![
        with_blocks("blocks without EOB", &|_, block| block[63] = 1),
        with_blocks("chains of ZRL", &|random, block| {
            block[1..].fill(0);
            block[63] = random.between(-3, 3) as i16;
        }),
        with_blocks("every coefficient at its limit", &|random, block| {
            block.fill_with(|| *random.pick(&[-1023, 1023]));
        }),
        with_blocks("only zeros", &|_, block| block.fill(0)),
        with_blocks("sparse and random", &|random, block| {
            block[1..].fill_with(|| if random.one_in(9) { random.between(-1023, 1023) as i16 } else { 0 });
        }),
    ]
}

/// What replaces a symbol; the number is the k that an AC symbol starts from.
type Replacement<'a> = &'a dyn Fn(&mut Random, usize, &Symbol) -> Vec<Symbol>;

/// Replaces the symbols of sequential scans.
fn replace_symbols(segments: &mut [Vec<Symbol>], replacement: Replacement) {
    let mut random = Random::new(5);
    let mut k = 0;
    for segment in segments {
        let symbols = std::mem::take(segment);
        for symbol in symbols {
            k = if matches!(symbol.table, Table::Dc(_)) { 0 } else { k };
            segment.extend(replacement(&mut random, k, &symbol));
            k += usize::from(symbol.value >> 4) * usize::from(matches!(symbol.table, Table::Ac(_))) + 1;
        }
    }
}

/// Streams of symbols that no encoder writes: what libjpeg makes of them is the rule.
fn symbols() -> Vec<Case> {
    let edited = |name: &str, sampling: &[(u8, u8)], replacement: Replacement| {
        let image = photo(sampling, 60);
        let file = encoding(&image).encode_edited(&image, &mut |_, segments| replace_symbols(segments, replacement));
        Case::new(name, file.to_bytes(), Expected::AsLibjpeg)
    };
    let is_eob = |symbol: &Symbol| matches!(symbol.table, Table::Ac(_)) && symbol.value == EOB;
    let is_dc = |symbol: &Symbol| matches!(symbol.table, Table::Dc(_));
    vec![
        edited("zig-zag overflow by a run", GRAY, &|random, k, symbol| match is_eob(symbol) {
            true => {
                let num_zrl = (64 - k).div_ceil(16) - 1;
                let run = Symbol { value: 0xF1, extra: random.below(2) as u16, num_extra_bits: 1, ..*symbol };
                [vec![Symbol { value: ZRL, ..*symbol }; num_zrl], vec![run]].concat()
            }
            false => vec![*symbol],
        }),
        edited("zig-zag overflow by ZRL", YCC_420, &|_, k, symbol| match is_eob(symbol) {
            true => vec![Symbol { value: ZRL, ..*symbol }; (64 - k).div_ceil(16)],
            false => vec![*symbol],
        }),
        edited("AC without value before run 15 is EOB", YCC_444, &|random, _, symbol| match is_eob(symbol) {
            true => vec![Symbol { value: (random.below(15) << 4) as u8, ..*symbol }],
            false => vec![*symbol],
        }),
        edited("DC wraps to 16 bits", YCC_420, &|_, _, symbol| match is_dc(symbol) {
            true => vec![Symbol { value: 15, extra: 0x7FFF, num_extra_bits: 15, ..*symbol }],
            false => vec![*symbol],
        }),
        edited("AC of 15 bits", YCC_420, &|random, _, symbol| match is_dc(symbol) || symbol.value & 15 == 0 {
            true => vec![*symbol],
            false => {
                let (value, extra) = (symbol.value | 15, random.bits() as u16 & 0x7FFF);
                vec![Symbol { value, extra, num_extra_bits: 15, ..*symbol }]
            }
        }),
    ]
}

/// Small progressive files in which runs lead beyond Se and set a coefficient of another band, or beyond the block and set ZZ(63), in first
/// scans and in refinement, over what was zero and over what was not. None is set that a later scan refines: its symbols would not fit.
pub fn runs_beyond_bands() -> [Vec<u8>; 2] {
    let layout = Layout { process: Process::Progressive, ..Layout::baseline(GRAY, 60) };
    let mut image = Picture::photo(11, 51, 43, 1).coefficients(&layout);
    let mut random = Random::new(8);
    for block in image.planes[0].data.chunks_exact_mut(64) {
        // ZZ(6), behind the first band, and ZZ(63), in natural order.
        [3, 63].into_iter().for_each(|i| block[i] = random.between(-3, 3) as i16);
    }
    let scan = |band, bits| Scan { max_eob_run: 1, ..Scan::progressive([0], band, bits) };
    let begin = [scan((0, 0), (0, 0)), scan((6, 49), (0, 0)), scan((1, 5), (0, 1)), scan((1, 5), (1, 0))];
    let ends = [vec![scan((50, 63), (0, 0))], vec![scan((50, 63), (0, 1)), scan((50, 63), (1, 0))]];
    // Bands of fewer than sixteen coefficients, so that a run of fifteen always leads out of them.
    let edited = [&[2, 3, 4][..], &[2, 3, 5]];
    [0, 1].map(|i| {
        let scans = [&begin[..], &ends[i]].concat();
        let file = Encoding::new(scans).encode_edited(&image, &mut |scan_idx, segments| {
            for symbol in segments.iter_mut().flatten().filter(|_| edited[i].contains(&scan_idx)) {
                // No symbol of this block is left, only corrections, which the run takes too.
                if matches!(symbol.table, Table::Ac(_)) && symbol.value == EOB && random.one_in(2) {
                    *symbol = Symbol { value: 0xF1, extra: random.below(2) as u16, num_extra_bits: 1, ..*symbol };
                }
            }
        });
        file.to_bytes()
    })
}

/// Tables in all the ways in which they may stand in a file.
fn tables() -> Vec<Case> {
    let mut cases = vec![
        edited("16-bit DQT", photo(YCC_420, 80), |file| {
            for nth in 0..2 {
                let Some(payload) = file.payload_mut(code::DQT, nth) else { continue };
                let wide = payload[1..].iter().flat_map(|&q| [0, q]);
                *payload = [0x10 | payload[0]].into_iter().chain(wide).collect();
            }
        }),
        edited("all tables in one segment", photo(YCC_420, 80), |file| {
            for marker in [code::DHT, code::DQT] {
                let [first, others @ ..] = &file.find(marker)[..] else { continue };
                let more: Vec<u8> = others.iter().flat_map(|&i| payload(&file.parts[i])).collect();
                others.iter().rev().for_each(|&i| drop(file.parts.remove(i)));
                if let Part::Segment { payload, .. } = &mut file.parts[*first] {
                    payload.extend(more);
                }
            }
        }),
        edited("tables after the frame header", photo(YCC_420, 80), |file| {
            let frame_idx = file.find(code::SOF0)[0];
            let frame = file.parts.remove(frame_idx);
            file.parts.insert(file.find(code::DQT)[0], frame);
        }),
        edited("an unused over-subscribed table", photo(YCC_420, 80), |file| {
            let frame_idx = file.find(code::SOF0)[0];
            let payload = [&[0x13][..], &[3], &[0; 15], &[1, 2, 3]].concat();
            file.parts.insert(frame_idx, Part::Segment { marker: code::DHT, payload });
        }),
        edited("quantisation redefined between scans", separate(photo(YCC_420, 80)).1, |file| {
            *file = separate(photo(YCC_420, 80)).0;
            let payload = [&[0][..], &[77; 64]].concat();
            file.parts.insert(file.find(code::SOS)[1], Part::Segment { marker: code::DQT, payload });
        }),
    ];
    let mut image = photo(YCC_420, 80);
    image.planes[1].quant = Some(Natural(std::array::from_fn(|i| 300 + i as u16)));
    image.planes[2].quant = image.planes[1].quant;
    cases.push(edited("quantisation over 255", image, |_| {}));
    cases.push(edited("no DHT: the typical tables are meant", photo(YCC_420, 80), |file| {
        let image = photo(YCC_420, 80);
        *file = standard_codes(&image);
        file.parts.retain(|part| !matches!(part, Part::Segment { marker: code::DHT, .. }));
    }));
    cases
}

fn payload(part: &Part) -> Vec<u8> {
    match part {
        Part::Segment { payload, .. } => payload.clone(),
        _ => Vec::new(),
    }
}

/// One scan per component.
fn separate(image: Coefficients) -> (JpegFile, Coefficients) {
    let scans = sequential_scans(&image.frame, Interleaving::NonInterleaved);
    (Encoding::new(scans).encode(&image), image)
}

fn standard_codes(image: &Coefficients) -> JpegFile {
    let mut encoding = encoding(image);
    encoding.scans.iter_mut().for_each(|scan| scan.codes = Codes::Standard);
    encoding.encode(image)
}

fn with_restarts(image: &Coefficients) -> JpegFile {
    let mut encoding = encoding(image);
    encoding.scans.iter_mut().for_each(|scan| scan.restart = Restart::EveryRow);
    encoding.encode(image)
}

/// Markers and what stands between them.
fn markers() -> Vec<Case> {
    let mut cases = vec![
        edited("fill bytes before every marker", photo(YCC_420, 80), |file| {
            *file = with_restarts(&photo(YCC_420, 80));
            let is_marker = |part: &Part| matches!(part, Part::Marker(_) | Part::Segment { .. });
            let parts = std::mem::take(&mut file.parts).into_iter().enumerate();
            file.parts = parts
                .flat_map(|(i, part)| {
                    let num_fill = if i > 0 && is_marker(&part) { 1 + i % 3 } else { 0 };
                    [Part::Raw(vec![0xFF; num_fill]), part]
                })
                .collect();
        }),
        edited("bytes after EOI", photo(YCC_420, 80), |file| {
            file.parts.push(Part::Raw(b"after the end\xFF\xDA".to_vec()))
        }),
        edited("a second image after EOI", photo(YCC_420, 80), |file| {
            let second = encoding(&photo(GRAY, 10)).encode(&photo(GRAY, 10));
            file.parts.extend(second.parts);
        }),
        edited("many application segments and comments", photo(YCC_420, 80), |file| {
            for i in 0..16 {
                file.parts.insert(2, Part::Segment { marker: code::APP0 + i, payload: vec![i; 40 * usize::from(i)] });
                file.parts.insert(2, Part::Segment { marker: code::COM, payload: vec![0xFF; usize::from(i)] });
            }
            file.parts.insert(3, Part::Segment { marker: code::COM, payload: vec![0xD8; 65_533] });
        }),
        edited("height by DNL", photo(YCC_420, 80), |file| {
            let lines = match file.payload_mut(code::SOF0, 0) {
                Some(header) => [std::mem::take(&mut header[1]), std::mem::take(&mut header[2])],
                None => [0, 0],
            };
            file.parts.insert(file.parts.len() - 1, Part::Segment { marker: code::DNL, payload: lines.to_vec() });
        }),
        edited("a restart interval longer than the image", photo(YCC_420, 80), |file| {
            let frame_idx = file.find(code::SOF0)[0];
            file.parts.insert(frame_idx, Part::Segment { marker: code::DRI, payload: vec![0xFF, 0xFF] });
        }),
    ];
    for value in 2..=8 {
        let mut image = photo(YCC_420, 80);
        image.orientation = Orientation::from_exif(value).unwrap_or_default();
        cases.push(edited(&format!("EXIF orientation {value}"), image, |_| {}));
    }
    let colors = [
        ColorModel::Rgb,
        ColorModel::Cmyk { inverted: true },
        ColorModel::Cmyk { inverted: false },
        ColorModel::Ycck { inverted: true },
    ];
    for color in colors {
        let sampling = if color == ColorModel::Rgb { YCC_444 } else { &[(1, 1); 4] };
        let layout = Layout { color, ..Layout::baseline(sampling, 75) };
        let image = Picture::photo(4, 40, 30, sampling.len()).coefficients(&layout);
        cases.push(edited(&format!("{color:?}"), image, |_| {}));
    }
    cases
}

/// Unusual sequences of scans.
fn scans() -> Vec<Case> {
    let encode = |name: &str, image: &Coefficients, scans: Vec<Scan>| {
        Case::sound(name, Encoding::new(scans).encode(image).to_bytes(), image.clone())
    };
    let image = photo(YCC_420, 80);
    let mut backwards = sequential_scans(&image.frame, Interleaving::NonInterleaved);
    backwards.reverse();
    let mut intervals = sequential_scans(&image.frame, Interleaving::NonInterleaved);
    let restarts = [Restart::EveryMcus(3), Restart::Never, Restart::EveryMcus(1)];
    intervals.iter_mut().zip(restarts).for_each(|(scan, restart)| scan.restart = restart);
    let mut cases = vec![
        encode("components in reverse order", &image, backwards),
        encode("restart interval changed between scans", &image, intervals),
        encode("chroma interleaved before luma", &image, vec![Scan::sequential([1, 2]), Scan::sequential([0])]),
    ];
    cases.push(Case::new(
        "a component that is never sent",
        Encoding::new(vec![Scan::sequential([0]), Scan::sequential([2])]).encode(&image).to_bytes(),
        Expected::AsLibjpeg,
    ));
    let progressive = photo_as(Process::Progressive, EntropyCoding::Huffman);
    let one_at_a_time: Vec<Scan> = std::iter::once(Scan::progressive([0, 1, 2], (0, 0), (0, 0)))
        .chain((1..64).flat_map(|k| (0..3).map(move |component| Scan::progressive([component], (k, k), (0, 0)))))
        .collect();
    cases.push(encode("one coefficient per scan", &progressive, one_at_a_time));
    let deep: Vec<Scan> = (0..=9u8)
        .rev()
        .flat_map(|al| {
            let ah = if al == 9 { 0 } else { al + 1 };
            let dc = Scan::progressive([0, 1, 2], (0, 0), (ah, al));
            std::iter::once(dc).chain((0..3).map(move |component| Scan::progressive([component], (1, 63), (ah, al))))
        })
        .collect();
    cases.push(encode("one bit per scan", &progressive, deep.clone()));
    let arithmetic = photo_as(Process::Progressive, EntropyCoding::Arithmetic);
    cases.push(encode("one bit per scan, arithmetic", &arithmetic, deep));
    let scans = encoding(&progressive).scans;
    for end in 1..scans.len() {
        let file = Encoding::new(scans[..end].to_vec()).encode(&progressive);
        cases.push(Case::new(format!("progressive, only {end} scans"), file.to_bytes(), Expected::AsLibjpeg));
    }
    let mut short_runs = encoding(&progressive).scans;
    short_runs.iter_mut().for_each(|scan| scan.max_eob_run = 3);
    cases.push(encode("runs of at most three EOB", &progressive, short_runs));
    cases
}

/// Flat pages: no start in the middle falls into step.
fn pages() -> Vec<Case> {
    let page = |sampling: &[(u8, u8)], inked_percent: u32| {
        let image =
            Picture::page(8, (640, 480), sampling.len(), inked_percent).coefficients(&Layout::baseline(sampling, 75));
        let name = format!("page with {inked_percent} % ink, {} components", sampling.len());
        Case::sound(name, standard_codes(&image).to_bytes(), image)
    };
    vec![page(YCC_420, 0), page(YCC_420, 50), page(GRAY, 0), page(GRAY, 50)]
}

fn conditioning() -> Vec<Case> {
    let mut conditioning = ArithmeticConditioning::default();
    conditioning.dc_lower[..4].copy_from_slice(&[0, 2, 5, 0]);
    conditioning.dc_upper[..4].copy_from_slice(&[0, 4, 15, 15]);
    conditioning.ac_kx[..4].copy_from_slice(&[1, 63, 20, 5]);
    let case = |process: Process| {
        let image = photo_as(process, EntropyCoding::Arithmetic);
        let file = Encoding { conditioning, ..encoding(&image) }.encode(&image);
        Case::sound(format!("arithmetic conditioning, {process:?}"), file.to_bytes(), image)
    };
    vec![case(Process::ExtendedSequential), case(Process::Progressive)]
}
