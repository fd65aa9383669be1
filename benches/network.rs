//! The forward pass on the CPU: images per second at batch 1 and 8. `benches/peers/network_onnxruntime.py` compares it with ONNX Runtime.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dctflow::cpu::network::{Engine, Scratch};
use dctflow::network::{Config, InputNorm, Variant, Weights};

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("network");
    group.sample_size(20);
    for variant in [Variant::Resnet50Rgb, Variant::LateConcatRfaThinner] {
        let weights = Weights::random(Config::new(variant), 1).expect("the paper's configuration");
        let engine = Engine::new(weights.inference(InputNorm::Fold)).expect("a network that fits together");
        for batch in [1, 8] {
            let lens = engine.input_shapes().iter().map(|shape| batch * shape.height * shape.width * shape.channels);
            let inputs: Vec<Vec<f32>> =
                lens.map(|len| (0..len).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect()).collect();
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let mut logits = vec![0.0; batch * engine.num_classes()];
            let mut scratch = Scratch::new();
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(variant.name(), batch), |bencher| {
                bencher.iter(|| engine.run(&inputs, batch, &mut logits, &mut scratch).expect("lengths that fit"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
