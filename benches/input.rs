//! The DCT-domain operator: from coefficients to the network's input, one image on one core; and making its plan.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dctflow::cpu::input::{InputMut, write_input};
use dctflow::jpeg::{
    Coefficients, ColorModel, Component, EntropyCoding, Frame, NATURAL_FROM_ZIGZAG, Natural, Orientation, Plane,
    Process,
};
use dctflow::resample::{AxisCache, InputPlan, Normalization, Transform};
use dctflow::tensor::InputKind;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn frame(width: u32, height: u32, luma_factors: (u8, u8)) -> Frame {
    let component = |id, factors| Component::new(id, factors, 0, (width, height), luma_factors);
    Frame {
        process: Process::Baseline,
        coding: EntropyCoding::Huffman,
        precision_bits: 8,
        width,
        height,
        components: vec![component(1, luma_factors), component(2, (1, 1)), component(3, (1, 1))],
        h_max: luma_factors.0,
        v_max: luma_factors.1,
    }
}

/// As dense as photographs are: about 18 non-zero coefficients in a luma block, 5 in a chroma block, at low frequencies.
fn photo_like(frame: &Frame) -> Coefficients {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let planes = frame
        .components
        .iter()
        .enumerate()
        .map(|(component_idx, component)| {
            let num_blocks = component.padded_blocks_wide as usize * component.padded_blocks_high as usize;
            let mut data = vec![0i16; num_blocks * 64];
            let last_mean = if component_idx == 0 { 26 } else { 8 };
            for block in data.chunks_exact_mut(64) {
                block[0] = random.below(200) as i16 - 100;
                let last = (random.below(last_mean) + random.below(last_mean)).min(63) as usize;
                for k in 1..=last {
                    if random.below(10) < 7 {
                        block[NATURAL_FROM_ZIGZAG[k] as usize] = random.below(21) as i16 - 10;
                    }
                }
            }
            Plane {
                blocks_wide: component.blocks_wide,
                blocks_high: component.blocks_high,
                pitch_blocks: component.padded_blocks_wide,
                padded_blocks_high: component.padded_blocks_high,
                data,
                quant: Some(Natural(std::array::from_fn(|i| 2 + i as u16 / 4))),
            }
        })
        .collect();
    Coefficients { frame: frame.clone(), color: ColorModel::YCbCr, orientation: Orientation::Upright, planes }
}

const IMAGES: [(&str, u32, u32, (u8, u8)); 4] = [
    ("500x375 4:4:4", 500, 375, (1, 1)),
    ("500x375 4:2:0", 500, 375, (2, 2)),
    ("224x224 4:2:0, nothing to resize", 224, 224, (2, 2)),
    ("4000x3000 4:2:0", 4000, 3000, (2, 2)),
];

fn operator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operator");
    let normalization = Normalization::default();
    for (name, width, height, luma_factors) in IMAGES {
        let frame = frame(width, height, luma_factors);
        let coefficients = photo_like(&frame);
        let plan = |kind| {
            InputPlan::new(&frame, ColorModel::YCbCr, Orientation::Upright, &transform(width), kind)
                .expect("the benchmark's own image")
        };
        group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
        let (mut y, mut c) = (vec![0.0; 28 * 28 * 64], vec![0.0; 14 * 14 * 128]);
        let blocks = plan(InputKind::Blocks);
        group.bench_function(format!("blocks/{name}"), |bencher| {
            bencher.iter(|| write_input(&blocks, black_box(&coefficients), InputMut::Blocks { y: &mut y, c: &mut c }));
        });
        let mut rgb = vec![0.0; 224 * 224 * 3];
        let samples = plan(InputKind::Rgb);
        group.bench_function(format!("rgb/{name}"), |bencher| {
            bencher.iter(|| {
                let out = InputMut::Rgb { rgb: &mut rgb, normalization: &normalization };
                write_input(&samples, black_box(&coefficients), out)
            });
        });
    }
    group.finish();
}

/// Short side 256, centre crop 224, except for images that are 224 already.
fn transform(width: u32) -> Transform {
    let text = if width == 224 { "resize=none" } else { "short=256" };
    text.parse().expect("a transform of the grammar")
}

fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for (name, width, height, luma_factors) in IMAGES {
        let frame = frame(width, height, luma_factors);
        let make = |cache: &mut AxisCache| {
            InputPlan::cached(
                cache,
                black_box(&frame),
                ColorModel::YCbCr,
                Orientation::Upright,
                &transform(width),
                InputKind::Blocks,
            )
        };
        group.bench_function(format!("new/{name}"), |bencher| bencher.iter(|| make(&mut AxisCache::default())));
        let mut cache = AxisCache::default();
        group.bench_function(format!("cached/{name}"), |bencher| bencher.iter(|| make(&mut cache)));
    }
    group.finish();
}

criterion_group!(benches, operator, plan);
criterion_main!(benches);
