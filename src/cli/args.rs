//! Arguments that several commands share.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use dctflow::jpeg::{Limits, Policy};
#[cfg(feature = "builtin-model")]
use dctflow::network::Precision;
use dctflow::network::{Config, Variant, Weights};
use dctflow::resample::Transform;
use dctflow::session::{Device, DeviceChoice, OpsChoice, Session, SessionBuilder};
use dctflow::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::limits::LimitArgs;
use super::output::say;
use super::progress;

/// The network that is run where none is named.
pub const DEFAULT_NETWORK: Variant = Variant::LateConcatRfaThinner;

/// Which network, with which weights, on what.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// The network [default: that of the weights, else late-concat-rfa-thinner].
    #[arg(long, value_name = "NAME")]
    pub network: Option<Variant>,
    /// Weights (safetensors). Without them, and with --network or --seed, the network's weights are random.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Seed of random weights [default: 0].
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    pub seed: Option<u64>,
    /// How images are resized and cropped [default: as the weights say, else short=256,crop=224].
    #[arg(long, value_name = "T")]
    pub transform: Option<Transform>,
}

/// Where and how a session runs.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What runs it: auto, cpu, cuda, cuda:N or emulator; several, separated by commas, share the batches.
    #[arg(long, value_name = "DEVICES", default_value = "auto", value_delimiter = ',')]
    device: Vec<DeviceChoice>,
    /// What carries out convolutions on a GPU: kernels (our own) or libraries (cuBLASLt and cuDNN).
    #[arg(long, value_name = "OPS", default_value_t)]
    ops: OpsChoice,
    /// Images in a batch.
    #[arg(long, value_name = "B", default_value = "16")]
    batch: NonZeroUsize,
    /// Threads of the CPU [default: one per core].
    #[arg(long, value_name = "N", value_parser = threads_parser())]
    threads: Option<u16>,
    /// Partial images: strict (they fail), lenient, lenient:F (used from the fraction F on), skip (not classified).
    #[arg(long, value_name = "P", default_value = "lenient")]
    policy: Policy,
    #[command(flatten)]
    limits: LimitArgs,
}

/// A network ready to be run, and what is said of it.
pub struct Model {
    /// The network and its weights.
    pub weights: Weights,
    /// The network's name and the origin of the weights.
    pub name: String,
    /// What whoever reads its answers must know, if it is the one that comes with the program.
    pub caution: Option<String>,
}

impl ModelArgs {
    /// Loads the weights, or makes random ones and says so.
    pub fn load(&self) -> Result<Model> {
        let model = match &self.weights {
            Some(path) => self.read(path)?,
            None => self.random()?,
        };
        self.transformed(model)
    }

    /// The same for who wants answers: the model that comes with the program where no other is asked for.
    pub fn load_to_answer(&self) -> Result<Model> {
        #[cfg(feature = "builtin-model")]
        if self.is_builtin() {
            return self.transformed(builtin()?);
        }
        self.load()
    }

    #[cfg(feature = "builtin-model")]
    fn is_builtin(&self) -> bool {
        self.weights.is_none() && self.network.is_none() && self.seed.is_none()
    }

    fn transformed(&self, model: Model) -> Result<Model> {
        match self.transform {
            Some(transform) => Ok(Model { weights: model.weights.with_transform(transform)?, ..model }),
            None => Ok(model),
        }
    }

    /// SHA-256 of the weights' file in hexadecimal digits; random weights follow from the model's name.
    pub fn digest(&self) -> Result<String> {
        let bytes = match &self.weights {
            Some(path) => std::fs::read(path).map_err(|e| Error::io(path, e))?,
            #[cfg(feature = "builtin-model")]
            None if self.is_builtin() => Weights::builtin()?.to_bytes(Precision::F16)?,
            None => return Ok("random".into()),
        };
        Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn read(&self, path: &PathBuf) -> Result<Model> {
        let weights = Weights::load(path)?;
        let weights = match self.network {
            Some(variant) => weights.expect_variant(variant).map_err(|e| e.with_path(path))?,
            None => weights,
        };
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let name = format!("{}, {file}", weights.config().variant);
        Ok(Model { weights, name, caution: None })
    }

    fn random(&self) -> Result<Model> {
        let (variant, seed) = (self.network.unwrap_or(DEFAULT_NETWORK), self.seed.unwrap_or(0));
        say(format_args!(
            "warning: no --weights: {variant} with random weights (seed {seed}), its answers mean nothing"
        ));
        let spinner = progress::message("making random weights");
        let weights = Weights::random(Config::new(variant), seed)?;
        spinner.finish_and_clear();
        Ok(Model { weights, name: format!("{variant}, random {seed}"), caution: None })
    }
}

/// The model that comes with the program. What it knows goes to standard error, and into every answer.
#[cfg(feature = "builtin-model")]
fn builtin() -> Result<Model> {
    let weights = Weights::builtin()?;
    let class_names = &weights.metadata().class_names;
    let caution = format!("built-in model, knows {} classes only", class_names.len());
    say(format_args!("{caution}: {}; for others give --weights", class_names.join(", ")));
    let name = format!("{}, {caution}", weights.config().variant);
    Ok(Model { weights, name, caution: Some(caution) })
}

impl RunArgs {
    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.batch.get()
    }

    /// What becomes of partial images.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What a file may ask for.
    pub fn limits(&self) -> Limits {
        self.limits.limits()
    }

    /// A session as the arguments ask for it. What `auto` took goes to standard error.
    pub fn session<'a>(&self, model: &'a Model) -> Result<SessionBuilder<'a>> {
        let devices = self.device.iter().map(|&choice| resolve(choice)).collect::<Result<Vec<Device>>>()?;
        let builder = Session::builder(&model.weights).on(&devices).ops_choice(self.ops).max_batch(self.batch());
        let mut builder = builder.policy(self.policy).limits(self.limits());
        if let Some(threads) = self.threads {
            builder = builder.threads(threads.into());
        }
        Ok(builder)
    }
}

/// The device of a choice. What `auto` took, and why, goes to standard error.
pub fn resolve(choice: DeviceChoice) -> Result<Device> {
    let device = choice.resolve().map_err(|e| {
        let message = format!("{e}; --device cpu runs everywhere");
        Error::new(e.kind(), message).with_source(e)
    })?;
    if choice == DeviceChoice::Auto {
        say(format_args!("device {}: {}", device.kind, device.why));
    }
    Ok(device)
}

/// A number of threads that no machine chokes on.
pub fn threads_parser() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1024)
}

/// Threads for work without a session.
pub fn thread_pool(threads: Option<u16>) -> Result<rayon::ThreadPool> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.map_or(0, usize::from));
    builder.build().map_err(|e| {
        Error::new(ErrorKind::OutOfMemory, "cannot start the threads: ask for fewer (--threads)").with_source(e)
    })
}
