//! The DCT-domain operator, one image on one core: from coefficients to the network's input, beside the entropy decode of the same
//! file; and making its plan.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dctflow::cpu::Decoder;
use dctflow::cpu::input::{InputMut, write_input};
use dctflow::jpeg::{Coefficients, Limits};
use dctflow::resample::{AxisCache, InputPlan, Normalization, Transform};
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, sequential_scans};
use dctflow::tensor::InputKind;

/// A photo-like picture of quality 92, as coefficients.
fn photo(width: u32, height: u32, luma_factors: (u8, u8)) -> Coefficients {
    let layout = Layout::baseline(&[luma_factors, (1, 1), (1, 1)], 92);
    Picture::photo(1, width, height, 3).coefficients(&layout)
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
        let coefficients = photo(width, height, luma_factors);
        let plan = |kind| make_plan(&mut AxisCache::default(), &coefficients, &transform(width), kind);
        group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
        let file = Encoding::new(sequential_scans(&coefficients.frame, Interleaving::Interleaved));
        let bytes = file.encode(&coefficients).to_bytes();
        let mut decoder = Decoder::default();
        group.bench_function(format!("entropy decode/{name}"), |bencher| {
            bencher.iter(|| {
                let decoded = decoder.decode(black_box(&bytes), &Limits::default());
                decoder.recycle(decoded.coefficients.expect("the benchmark's own image"));
            });
        });
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

fn make_plan(cache: &mut AxisCache, image: &Coefficients, transform: &Transform, kind: InputKind) -> InputPlan {
    InputPlan::cached(cache, &image.frame, image.color, image.orientation, transform, kind)
        .expect("the benchmark's own image")
}

/// Short side 256, centre crop 224, except for images that are 224 already.
fn transform(width: u32) -> Transform {
    let text = if width == 224 { "resize=none" } else { "short=256" };
    text.parse().expect("a transform of the grammar")
}

fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for (name, width, height, luma_factors) in IMAGES {
        let coefficients = photo(width, height, luma_factors);
        let transform = transform(width);
        let make = |cache: &mut AxisCache| make_plan(cache, black_box(&coefficients), &transform, InputKind::Blocks);
        group.bench_function(format!("new/{name}"), |bencher| bencher.iter(|| make(&mut AxisCache::default())));
        let mut cache = AxisCache::default();
        group.bench_function(format!("cached/{name}"), |bencher| bencher.iter(|| make(&mut cache)));
    }
    group.finish();
}

criterion_group!(benches, operator, plan);
criterion_main!(benches);
