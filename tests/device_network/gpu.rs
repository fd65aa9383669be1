//! The same on a GPU, where there is one: by our own kernels, tile by tile, and by NVIDIA's libraries. What is missing is named on stderr; with
//! `DCTFLOW_REQUIRE_GPU` set a missing GPU is a failure, with `DCTFLOW_REQUIRE_LIBRARIES` a missing library.

use std::sync::Arc;

use dctflow::device::cuda::{Cuda, Libraries, LibraryOps};
use dctflow::device::{ConvolveTile, Device, KernelOps, Ops};
use dctflow::network::{Config, InputNorm, Variant, Weights};
use dctflow::stages::NetworkOptions;

use crate::{assert_close, run, run_on_cpu};

/// What is there, or `None` with a word on stderr, unless `variable` is set.
fn present<T>(what: dctflow::Result<T>, variable: &str) -> Option<T> {
    match what {
        Ok(present) => Some(present),
        Err(error) if std::env::var_os(variable).is_some() => panic!("{error}"),
        Err(error) => {
            crate::say::skipped(format_args!("networks on a GPU: {error}"));
            None
        }
    }
}

/// The libraries that are there, each by itself and both together, as they were asked for.
fn library_ops(cuda: &Arc<Cuda>) -> Vec<(Libraries, Arc<LibraryOps>)> {
    let libraries = [
        Libraries { cublaslt: true, cudnn: false },
        Libraries { cublaslt: false, cudnn: true },
        Libraries { cublaslt: true, cudnn: true },
    ];
    let ops = |libraries| present(LibraryOps::new(cuda, libraries), "DCTFLOW_REQUIRE_LIBRARIES");
    libraries.into_iter().filter_map(|libraries| Some((libraries, Arc::new(ops(libraries)?)))).collect()
}

#[test]
fn every_network_agrees_with_the_cpu_on_a_gpu() {
    let Some(cuda) = present(Cuda::open(0), "DCTFLOW_REQUIRE_GPU") else { return };
    let device: Arc<dyn Device> = cuda.clone();
    let library_ops = library_ops(&cuda);
    let by_library = library_ops.iter().map(|(_, ops)| Arc::clone(ops) as Arc<dyn Ops>);
    let tiles = ConvolveTile::ALL.into_iter().map(Some).chain([None]);
    let by_tile = tiles.map(|tile| Arc::new(KernelOps { tile }) as Arc<dyn Ops>);
    let all_ops: Vec<Arc<dyn Ops>> = by_tile.chain(by_library).collect();
    for variant in Variant::ALL {
        // Wide enough for the libraries, which want whole rows of weights.
        let config = Config { width: 0.5, classes: 10, input_size: (96, 64), ..Config::new(variant) };
        let weights = Weights::random(config, 20180).unwrap();
        let expected = run_on_cpu(&weights);
        for ops in &all_ops {
            let options = NetworkOptions { ops: Arc::clone(ops), ..NetworkOptions::default() };
            let logits = run(&device, &weights, InputNorm::Apply, &options);
            assert_close(&logits, &expected, 10, &format!("{variant} on a GPU by {ops:?}"));
        }
    } // Right answers by our own kernels alone would say nothing of the libraries.
    for (Libraries { cublaslt, cudnn }, ops) in library_ops {
        let counts = ops.counts();
        eprintln!("{counts:?}, failure: {:?}", ops.failure());
        assert_eq!((counts.cublaslt > 0, counts.cudnn > 0), (cublaslt, cudnn), "{counts:?}");
        assert_eq!(counts.failed, 0, "{:?}", ops.failure());
    }
}
